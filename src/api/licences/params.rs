//! The query string of this interface: the window of a traversal, and what is shown with each item.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::answer::{LicenceError, NULL};
use crate::api::keys::Identity;
use crate::store::{LIMIT_DEFAULT, LIMIT_MAX, SnScope};

/// Decoded. Parameters that we do not know are passed over.
pub struct Params(Vec<(String, String)>);

/// What the account variant shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountScope {
    Count,
    Basic,
    All,
}

/// Extracted by whoever may look: every role but the gates'.
impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = LicenceError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, LicenceError> {
        let role = parts.extensions.get::<Identity>().map(|identity| identity.role);
        if !role.is_some_and(|role| role.may_see_tasks()) {
            return Err(LicenceError::not_allowed("a key of this role may not see licences"));
        }
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

impl Params {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Offset and limit.
    pub fn window(&self) -> Result<(u32, u32), LicenceError> {
        let offset = self.number("offset", 0, u32::MAX)?.unwrap_or(0);
        Ok((offset, self.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT)))
    }

    pub fn count(&self, least: u32, most: u32) -> Result<u32, LicenceError> {
        self.number("count", least, most)?.ok_or_else(|| LicenceError::new(NULL, "count: is missing"))
    }

    fn number(&self, name: &str, least: u32, most: u32) -> Result<Option<u32>, LicenceError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = u32::from_str(text).ok().filter(|n| digits && (least..=most).contains(n));
        let refused = || {
            let shown: String = text.chars().take(40).collect();
            LicenceError::bad(format!("{name}: is {shown:?}, expected a whole number from {least} to {most}"))
        };
        number.map(Some).ok_or_else(refused)
    }

    /// `all` overrides the rest, yet an unknown word is refused beside it too.
    pub fn scope(&self) -> Result<SnScope, LicenceError> {
        let mut scope = SnScope::default();
        let mut all = false;
        for word in self.words() {
            match word.as_str() {
                "product" => scope.product = true,
                "template" => scope.template = true,
                "business" => scope.business = true,
                "feature" => scope.features = true,
                "data" => scope.data = true,
                "machine" => scope.machines = true,
                "all" => all = true,
                _ => {
                    let shown: String = word.chars().take(40).collect();
                    return Err(LicenceError::bad(format!(
                        "scope: holds {shown:?}, expected words out of product, template, business, feature, data, machine, all"
                    )));
                }
            }
        }
        Ok(if all { SnScope::ALL } else { scope })
    }

    /// Unknown words are passed over, a word given twice is refused. The widest word counts.
    pub fn account_scope(&self) -> Result<AccountScope, LicenceError> {
        let words = self.words();
        for (index, word) in words.iter().enumerate() {
            if words[..index].contains(word) {
                return Err(LicenceError::bad("scope: holds a word twice, expected each at most once"));
            }
        }
        let has = |word: &str| words.iter().any(|given| given == word);
        Ok(match (has("all"), has("basic"), has("count")) {
            (true, ..) => AccountScope::All,
            (false, false, true) => AccountScope::Count,
            _ => AccountScope::Basic,
        })
    }

    fn words(&self) -> Vec<String> {
        let scope = self.get("scope").unwrap_or_default();
        scope.split_whitespace().map(str::to_ascii_lowercase).collect()
    }
}
