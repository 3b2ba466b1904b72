//! The bodies of changes as clients send them, and what of them the store takes. Fields that are not known are passed
//! over.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::answer::{LicenceError, NULL};
use super::change::new_guid;
use crate::store::{Customer, FeatureTerms, NewFeature, NewProduct};

const PRODUCT_CHARS: usize = 64;
const TEXT_CHARS: usize = 256;
const BATCH: usize = 1000;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductBody {
    /// 1 to 64 characters
    #[schema(example = "gate-cameras")]
    product_name: Option<String>,
    /// The maker's own id of it.
    ref_id: Option<String>,
    description: Option<String>,
    features: Option<Vec<NewFeatureBody>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewFeatureBody {
    name: Option<String>,
    feature_id: Option<u32>,
    version: Option<String>,
    value: Option<i64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewSnsBody {
    product: Option<ProductName>,
    product_name: Option<String>,
    template: Option<TemplateName>,
    template_name: Option<String>,
    business: Option<Business>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// From the first channel on; no end where left out.
    pub expiration_days: Option<u32>,
    /// Channels at once; any number where left out.
    pub concurrent_number: Option<u32>,
    pub users_number: Option<u32>,
    pub transfer_volume: Option<u32>,
    pub transfer_number: Option<u32>,
    pub license_borrow: Option<bool>,
    pub features: Option<Vec<FeatureBody>>,
    pub data: Option<Vec<DataBody>>,
    start_date: Option<String>,
    end_date: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProductName {
    product_name: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct TemplateName {
    name: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
struct Business {
    guid: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    description: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnBody {
    /// 0: good, 1: disabled
    #[schema(maximum = 1)]
    pub status: Option<u8>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    pub expiration_days: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    pub concurrent_number: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    pub users_number: Option<Option<u32>>,
    pub data: Option<Vec<DataBody>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeatureBody {
    id: Option<i64>,
    name: Option<String>,
    version: Option<String>,
    value: Option<i64>,
    expiration_days: Option<u32>,
    users: Option<u32>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct DataBody {
    name: Option<String>,
    value: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct UserBody {
    pub name: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomerBody {
    name: Option<String>,
    reference_id: Option<String>,
    #[serde(flatten)]
    details: CustomerDetails,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CustomerDetails {
    description: Option<String>,
    office_number: Option<String>,
    mobile_number: Option<String>,
    email: Option<String>,
    address: Option<String>,
    city: Option<String>,
    country: Option<String>,
    postcode: Option<String>,
    contact: Option<String>,
}

impl ProductBody {
    pub fn product(self) -> Result<NewProduct, LicenceError> {
        let name = text("productName", self.product_name)?;
        if name.chars().count() > PRODUCT_CHARS {
            return Err(LicenceError::bad(format!("productName: expected at most {PRODUCT_CHARS} characters")));
        }
        let features = self.features.unwrap_or_default().into_iter().map(NewFeatureBody::feature);
        Ok(NewProduct {
            name,
            guid: new_guid(),
            ref_id: optional("refId", self.ref_id)?,
            description: optional("description", self.description)?,
            features: features.collect::<Result<_, _>>()?,
        })
    }
}

impl NewFeatureBody {
    fn feature(self) -> Result<NewFeature, LicenceError> {
        let feature_id = self.feature_id.ok_or_else(|| LicenceError::new(NULL, "features.featureId: is missing"))?;
        Ok(NewFeature {
            guid: new_guid(),
            name: text("features.name", self.name)?,
            feature_id: i64::from(feature_id),
            version: optional("features.version", self.version)?,
            value: self.value,
        })
    }
}

impl NewSnsBody {
    pub fn product_name(&self) -> Option<String> {
        self.product.as_ref().and_then(|product| product.product_name.clone()).or_else(|| self.product_name.clone())
    }

    pub fn template_name(&self) -> Option<String> {
        self.template.as_ref().and_then(|template| template.name.clone()).or_else(|| self.template_name.clone())
    }

    /// A licence that should end and does not would be worse than a refusal.
    pub fn refuse_dates(&self) -> Result<(), LicenceError> {
        if self.start_date.is_some() || self.end_date.is_some() {
            return Err(LicenceError::bad("startDate and endDate are not available here; use expirationDays"));
        }
        Ok(())
    }

    /// JSON; its name may stand in the query string.
    pub fn business_json(&self, name: Option<&str>) -> Result<Option<String>, LicenceError> {
        let json = |business: &Business| serde_json::to_string(business).expect("texts only");
        match (&self.business, optional("businessName", name.map(str::to_owned))?) {
            (Some(business), _) => {
                for part in [&business.guid, &business.name, &business.kind, &business.description] {
                    optional("business", part.clone())?;
                }
                Ok(Some(json(business)))
            }
            (None, Some(name)) => Ok(Some(json(&Business { name: Some(name), ..Business::default() }))),
            (None, None) => Ok(None),
        }
    }
}

impl CustomerBody {
    pub fn customer(self) -> Result<Customer, LicenceError> {
        if self.name.is_none() && self.reference_id.is_none() {
            return Err(LicenceError::new(NULL, "name: is missing; a customer is named by name or referenceId"));
        }
        let details = serde_json::to_string(&self.details).expect("texts only");
        Ok(Customer {
            name: optional("name", self.name)?,
            reference_id: optional("referenceId", self.reference_id)?,
            details,
        })
    }
}

pub fn feature_terms(bodies: Vec<FeatureBody>) -> Result<Vec<FeatureTerms>, LicenceError> {
    let terms = bodies.into_iter().map(|body| {
        if body.id.is_none() && body.name.is_none() {
            return Err(LicenceError::new(NULL, "name: is missing; a feature is named by id or name"));
        }
        Ok(FeatureTerms {
            id: body.id,
            name: optional("name", body.name)?,
            version: optional("version", body.version)?,
            value: body.value,
            expiration_days: body.expiration_days,
            users: body.users,
        })
    });
    terms.collect()
}

pub fn data_items(bodies: Vec<DataBody>) -> Result<Vec<(String, String)>, LicenceError> {
    let item = |body: DataBody| Ok((text("data.name", body.name)?, text("data.value", body.value)?));
    bodies.into_iter().map(item).collect()
}

pub fn some_of<T>(batch: Vec<T>) -> Result<Vec<T>, LicenceError> {
    if (1..=BATCH).contains(&batch.len()) {
        return Ok(batch);
    }
    Err(LicenceError::bad(format!("the body holds {} items, expected 1 to {BATCH}", batch.len())))
}

pub fn text(field: &str, text: Option<String>) -> Result<String, LicenceError> {
    optional(field, text)?.ok_or_else(|| LicenceError::new(NULL, format!("{field}: is missing")))
}

fn optional(field: &str, text: Option<String>) -> Result<Option<String>, LicenceError> {
    let ok = |text: &String| (1..=TEXT_CHARS).contains(&text.chars().count()) && !text.contains('\0');
    match text {
        Some(text) if !ok(&text) => {
            Err(LicenceError::bad(format!("{field}: expected 1 to {TEXT_CHARS} characters, none of them NUL")))
        }
        text => Ok(text),
    }
}

/// Tells a `null` from a field that is not there.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
