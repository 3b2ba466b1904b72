//! Request bodies: read whole, within a limit, refused early and politely beyond it.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;

use super::error::ApiError;

/// The largest task that fits the specification (100 inputs, 64 polygons) is a fifth of this.
pub const LIMIT_BYTES: usize = 1 << 20;
/// Of a body that is too large so much is read and thrown away, so that a client that sends it all before it listens
/// hears the answer instead of a broken connection.
const DRAIN_BYTES: u64 = 64 << 20;

pub async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    read_up_to(headers, body, LIMIT_BYTES).await
}

/// For interfaces that take pictures.
pub async fn read_up_to(headers: &HeaderMap, body: Body, limit_bytes: usize) -> Result<Bytes, ApiError> {
    let too_large = ApiError::TooLarge { limit_bytes };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit_bytes as u64) {
        if !headers.contains_key(header::EXPECT) && announced.is_some_and(|length| length <= DRAIN_BYTES) {
            drain(body).await;
        }
        return Err(too_large);
    }
    collect(body, limit_bytes).await?.ok_or(too_large)
}

/// `None` where the body goes on beyond the limit.
async fn collect(mut body: Body, limit_bytes: usize) -> Result<Option<Bytes>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::Invalid("the body broke off before its end".to_owned()))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit_bytes {
            drain(body).await;
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes.into()))
}

async fn drain(mut body: Body) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        if left == 0 {
            break;
        }
    }
}
