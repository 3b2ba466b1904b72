//! The parts of a request as they come in. Each picture is looked at as soon as it is there and only what is found is
//! kept, so that a request of a hundred pictures takes the memory of a few, whichever part comes first.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use multer::{Field, Multipart};

use super::answer::PersonsError;
use super::meta::MAX_IMAGES;
use crate::api::{AppState, LookFault};
use crate::domain::SeenFace;
use crate::picture::{Kind, PictureLimits};

const MAX_PICTURE_BYTES: usize = 4 << 20;
const MAX_META_BYTES: usize = 1 << 20;
/// Of a request that is refused so much is read and thrown away, so that its client hears the answer.
const DRAIN_BYTES: usize = 64 << 20;
const PICTURES: PictureLimits =
    PictureLimits { min_bytes: 1, max_bytes: MAX_PICTURE_BYTES, min_side_px: 1, max_side_px: 6000, kinds: Kind::ALL };

/// What was sent.
pub struct Parts {
    pub meta: Vec<u8>,
    /// By the part's name.
    pub pictures: HashMap<String, Seen>,
}

/// A picture that was looked at.
pub type Seen = Result<Vec<Kept>, LookFault>;

/// A face of it, and what is kept of the picture for that face.
pub struct Kept {
    pub face: SeenFace,
    pub jpeg: Vec<u8>,
    /// The face in the pixels of `jpeg`.
    pub in_jpeg: SeenFace,
}

impl Parts {
    /// Without `look`, pictures are passed over unread.
    pub async fn read(state: &AppState, request: Request, look: bool) -> Result<Self, PersonsError> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = content_type.and_then(|content_type| multer::parse_boundary(content_type).ok());
        let boundary = boundary.ok_or_else(|| PersonsError::bad("expected a body of multipart/form-data"))?;
        let mut multipart = Multipart::new(Body::into_data_stream(request.into_body()), boundary);
        let read = Self::collect(state, &mut multipart, look).await;
        if read.is_err() {
            drain(&mut multipart).await;
        }
        read
    }

    async fn collect(state: &AppState, multipart: &mut Multipart<'_>, look: bool) -> Result<Self, PersonsError> {
        let (mut meta, mut pictures) = (None, HashMap::new());
        while let Some(mut field) = multipart.next_field().await.map_err(broken)? {
            let name = field.name().unwrap_or_default().to_owned();
            if name == "meta" {
                meta = Some(bytes(&mut field, "meta", MAX_META_BYTES).await?);
            } else if look {
                if pictures.len() >= MAX_IMAGES {
                    return Err(PersonsError::bad(format!("at most {MAX_IMAGES} pictures are taken in one request")));
                }
                let picture = bytes(&mut field, &name, MAX_PICTURE_BYTES).await?;
                if picture.is_empty() {
                    return Err(PersonsError::bad("empty image"));
                }
                pictures.insert(name, seen(state, picture).await);
            } else {
                while field.chunk().await.map_err(broken)?.is_some() {}
            }
        }
        let meta = meta.ok_or_else(|| PersonsError::bad("meta: this part is missing"))?;
        Ok(Self { meta, pictures })
    }
}

async fn seen(state: &AppState, picture: Vec<u8>) -> Seen {
    let look = state.faces.look(picture, PICTURES, true).await?;
    let kept = look.faces.into_iter().map(|face| {
        let (jpeg, in_jpeg) = look.picture.keep(&face);
        Kept { face, jpeg, in_jpeg }
    });
    Ok(kept.collect())
}

async fn bytes(field: &mut Field<'_>, name: &str, limit: usize) -> Result<Vec<u8>, PersonsError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > limit {
            return Err(PersonsError::bad(format!("{name}: is larger than {} MB", limit >> 20)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn drain(multipart: &mut Multipart<'_>) {
    let mut left = DRAIN_BYTES;
    while let Ok(Some(mut field)) = multipart.next_field().await {
        while let Ok(Some(chunk)) = field.chunk().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    }
}

fn broken(error: multer::Error) -> PersonsError {
    PersonsError::bad(format!("the body is not multipart/form-data: {error}"))
}
