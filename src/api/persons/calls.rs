//! The four calls.

use axum::Extension;
use axum::extract::{Request, State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::{Envelope, Item, Nothing, Objects, PersonsError, Recognized};
use super::meta::{Image, Meta};
use super::parts::{Kept, Parts, Seen};
use crate::api::keys::Identity;
use crate::api::{AppState, LookFault, Recognition, auth};
use crate::clock;
use crate::domain::{Embedding, FaceOwner};
use crate::gallery::{Circle, shown};
use crate::picture::PictureFault;
use crate::store::{NewSample, PhotoLink, SealedSample};

/// A request's parts: `meta`, and a part for each picture that is named in it.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what the parts are read as")]
pub struct PersonsForm {
    /// JSON: `{"space":"0","images":[{"name":"file_0","person_id":1}]}`.
    meta: String,
}

/// Links each picture, which must show exactly one face, to a person number.
#[utoipa::path(post, path = "/api/v1/persons/set", tag = "persons", operation_id = "set_persons",
    params(("oauth_provider" = String, Query, description = "mcs or mr"), ("oauth_token" = String, Query)),
    request_body(content = PersonsForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Envelope<Objects>), (status = "4XX", body = Envelope<String>), (status = "5XX", body = Envelope<String>)))]
pub(super) async fn set(
    State(state): State<AppState>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Envelope<Objects>, PersonsError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "link photos to persons")?;
    let parts = Parts::read(&state, request, true).await?;
    let meta = Meta::parse(&parts.meta, true)?;
    let (mut items, mut photos, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for image in &meta.images {
        let owner = FaceOwner::Number { space: meta.space, number: image.person()? };
        match one_face(picture(&parts, image)?, &image.name) {
            Err(item) => items.push(item),
            Ok(kept) => {
                known.push((owner.clone(), image.name.clone(), kept.face.embedding.clone()));
                photos.push(sealed(&state, owner, &image.name, kept)?);
                items.push(Item::done(&image.name));
            }
        }
    }
    state.store.link_photos(photos, clock::unix_ms()).await?;
    remember(&state, &known);
    Ok(Envelope::of(Objects { objects: items, aliases_changed: None }))
}

/// Takes away the link of each photo; with the last photo of a number everything of it is erased.
#[utoipa::path(post, path = "/api/v1/persons/delete", tag = "persons", operation_id = "delete_persons",
    params(("oauth_provider" = String, Query, description = "mcs or mr"), ("oauth_token" = String, Query)),
    request_body(content = PersonsForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Envelope<Objects>), (status = "4XX", body = Envelope<String>), (status = "5XX", body = Envelope<String>)))]
pub(super) async fn delete(
    State(state): State<AppState>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Envelope<Objects>, PersonsError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "unlink photos from persons")?;
    let meta = Meta::parse(&Parts::read(&state, request, false).await?.meta, true)?;
    let links = meta.images.iter().map(|image| Ok(PhotoLink { number: image.person()?, name: image.name.clone() }));
    let links = links.collect::<Result<Vec<_>, PersonsError>>()?;
    let unlinked = state.store.unlink_photos(meta.space, links.clone(), clock::unix_ms()).await?;
    let mut objects = Vec::new();
    for (link, unlinked) in links.iter().zip(unlinked) {
        let owner = FaceOwner::Number { space: meta.space, number: link.number };
        objects.push(if unlinked { Item::done(&link.name) } else { Item::refused(&link.name, "no such person") });
        state.faces.gallery.forget(&owner, &link.name);
        if !state.store.has_photos(meta.space, link.number).await? {
            state.faces.gallery.forget_owner(&owner);
        }
    }
    Ok(Envelope::of(Objects { objects, aliases_changed: None }))
}

/// Whose faces are these? With `create_new`, strangers get new numbers.
#[utoipa::path(post, path = "/api/v1/persons/recognize", tag = "persons", operation_id = "recognize_persons",
    params(("oauth_provider" = String, Query, description = "mcs or mr"), ("oauth_token" = String, Query)),
    request_body(content = PersonsForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Envelope<Objects>), (status = "4XX", body = Envelope<String>), (status = "5XX", body = Envelope<String>)))]
pub(super) async fn recognize(
    State(state): State<AppState>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Envelope<Objects>, PersonsError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "recognize persons")?;
    let Some(recognition) = state.faces.eyes.recognition().cloned() else {
        let hint =
            "recognize needs an embedding model and none is installed: `face-edge models pull sface`, then start anew";
        return Err(PersonsError::unavailable(hint));
    };
    let parts = Parts::read(&state, request, true).await?;
    let meta = Meta::parse(&parts.meta, true)?;
    let mut objects = Vec::new();
    for image in &meta.images {
        objects.push(match picture(&parts, image)? {
            Err(fault) => faulty(&image.name, fault),
            Ok(faces) => {
                let mut persons = Vec::new();
                for face in faces {
                    persons.push(named(&state, &recognition, &meta, image, face).await?);
                }
                Item::persons(&image.name, persons)
            }
        });
    }
    Ok(Envelope::of(Objects { objects, aliases_changed: Some(false) }))
}

/// Erases everything of a space.
#[utoipa::path(post, path = "/api/v1/persons/truncate", tag = "persons", operation_id = "truncate_persons",
    params(("oauth_provider" = String, Query, description = "mcs or mr"), ("oauth_token" = String, Query)),
    request_body(content = PersonsForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Envelope<Nothing>), (status = "4XX", body = Envelope<String>), (status = "5XX", body = Envelope<String>)))]
pub(super) async fn truncate(
    State(state): State<AppState>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Result<Envelope<Nothing>, PersonsError> {
    auth::require(identity.role.may_change_tasks(), identity.role, "erase a space")?;
    let meta = Meta::parse(&Parts::read(&state, request, false).await?.meta, false)?;
    state.store.truncate_space(meta.space, clock::unix_ms()).await?;
    state.faces.gallery.forget_space(meta.space);
    Ok(Envelope::of(Nothing {}))
}

fn picture<'a>(parts: &'a Parts, image: &Image) -> Result<&'a Seen, PersonsError> {
    let name = &image.name;
    let missing = || PersonsError::bad(format!("could not get image by name {name}: http: no such file"));
    parts.pictures.get(name).ok_or_else(missing)
}

/// `Err` is what the client is told of this image.
fn one_face<'a>(seen: &'a Seen, name: &str) -> Result<&'a Kept, Item> {
    match seen {
        Ok(faces) if faces.len() == 1 => Ok(&faces[0]),
        Ok(_) => Err(Item::refused(name, "face set required only one face per image")),
        Err(fault) => Err(faulty(name, fault)),
    }
}

fn faulty(name: &str, fault: &LookFault) -> Item {
    match fault {
        LookFault::Picture(PictureFault::Unknown | PictureFault::Damaged) => {
            Item::refused(name, "The memory contains data of an unknown image type")
        }
        LookFault::Picture(fault) => Item::refused(name, fault.to_string()),
        LookFault::Eyes(why) => Item::failed(name, why.as_str()),
    }
}

async fn named(
    state: &AppState,
    recognition: &Recognition,
    meta: &Meta,
    image: &Image,
    kept: &Kept,
) -> Result<Recognized, PersonsError> {
    // Two requests that meet the same stranger must not both make a number.
    let _turn = if meta.create_new { Some(state.faces.numbering.lock().await) } else { None };
    let (circle, face) = (Circle::Space(meta.space), &kept.face);
    let best = face.embedding.as_ref().and_then(|embedding| state.faces.gallery.best(circle, embedding));
    let known = best.filter(|best| best.similarity >= recognition.threshold);
    let (tag, similarity) = match (known, &face.embedding) {
        (Some(known), _) => (shown(&known.owner), Some(f64::from(known.similarity))),
        (None, Some(_)) if meta.create_new => {
            let number = state.store.largest_number(meta.space).await? + 1;
            let owner = FaceOwner::Number { space: meta.space, number };
            let photo = sealed(state, owner.clone(), &image.name, kept)?;
            state.store.link_photos(vec![photo], clock::unix_ms()).await?;
            remember(state, &[(owner.clone(), image.name.clone(), face.embedding.clone())]);
            (shown(&owner), None)
        }
        _ => ("undefined".to_owned(), None),
    };
    let corners = [face.bbox.x, face.bbox.y, face.bbox.right(), face.bbox.bottom()];
    let rounded = |value: f64| (value * 10_000.0).round() / 10_000.0;
    Ok(Recognized {
        tag,
        coord: corners.map(|edge| edge.round() as i64),
        confidence: rounded(f64::from(face.score)),
        similarity: similarity.map(rounded),
    })
}

fn sealed(state: &AppState, owner: FaceOwner, name: &str, kept: &Kept) -> Result<SealedSample, PersonsError> {
    let model = state.faces.eyes.recognition().map(|recognition| recognition.model.clone());
    let new = NewSample {
        owner,
        face: name.to_owned(),
        seen: kept.in_jpeg.clone(),
        picture: kept.jpeg.clone(),
        model,
        validity: None,
        recognition_model: None,
        user_data: None,
    };
    Ok(state.store.sealed(new)?)
}

fn remember(state: &AppState, photos: &[(FaceOwner, String, Option<Embedding>)]) {
    for (owner, name, embedding) in photos {
        match embedding {
            Some(embedding) => state.faces.gallery.put(owner, name, embedding),
            None => state.faces.gallery.forget(owner, name),
        }
    }
}
