//! What the interfaces of stored faces share: looking at a picture that a client sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

use crate::domain::SeenFace;
use crate::gallery::Gallery;
use crate::picture::{Picture, PictureFault, PictureLimits};
use crate::zone::Zone;

/// Finds faces in pictures.
pub trait Eyes: Send + Sync {
    /// Surest first, with their embeddings where `recognition` is some. Blocks. `Err` says why it cannot be done.
    fn look(&self, picture: &Picture, embed: bool) -> Result<Vec<SeenFace>, String>;
    /// `None` where no embedding model is installed.
    fn recognition(&self) -> Option<&Recognition>;
}

/// The embedding model.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognition {
    pub model: String,
    /// The cosine from which two faces are taken for the same person's.
    pub threshold: f32,
}

/// Gets a picture from an address that a client names.
pub trait Fetch: Send + Sync {
    fn fetch(&self, url: &str, max_bytes: usize) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;
}

/// For handlers; cheap to clone.
#[derive(Clone)]
pub struct Faces {
    pub eyes: Arc<dyn Eyes>,
    pub fetch: Arc<dyn Fetch>,
    pub gallery: Arc<Gallery>,
    /// Times of tickets are written in it.
    pub zone: Zone,
    /// Pictures that are decoded and looked at at once; others wait.
    looks: Arc<Semaphore>,
    /// Held while a new person number is chosen and taken.
    pub(super) numbering: Arc<Mutex<()>>,
}

/// Why a picture was not looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookFault {
    #[error(transparent)]
    Picture(#[from] PictureFault),
    /// Ours.
    #[error("{0}")]
    Eyes(String),
}

/// A picture and its faces.
pub struct Look {
    pub picture: Picture,
    pub faces: Vec<SeenFace>,
}

impl Faces {
    pub fn new(eyes: Arc<dyn Eyes>, fetch: Arc<dyn Fetch>, gallery: Arc<Gallery>, zone: Zone, at_once: usize) -> Self {
        let (looks, numbering) = (Arc::new(Semaphore::new(at_once.max(1))), Arc::default());
        Self { eyes, fetch, gallery, zone, looks, numbering }
    }

    /// Without a detector: every picture is refused. For a router that serves tasks only.
    pub fn blind() -> Self {
        Self::new(Arc::new(Blind), Arc::new(Blind), Arc::default(), Zone::default(), 1)
    }

    pub async fn look(
        &self,
        bytes: impl AsRef<[u8]> + Send + 'static,
        limits: PictureLimits,
        embed: bool,
    ) -> Result<Look, LookFault> {
        let permit = Arc::clone(&self.looks).acquire_owned().await;
        let eyes = Arc::clone(&self.eyes);
        let looked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let picture = Picture::decode(bytes.as_ref(), &limits)?;
            let faces = eyes.look(&picture, embed).map_err(LookFault::Eyes)?;
            Ok(Look { picture, faces })
        });
        looked.await.unwrap_or_else(|_| Err(LookFault::Eyes("a decoder gave up on this picture".to_owned())))
    }
}

struct Blind;

impl Eyes for Blind {
    fn look(&self, _: &Picture, _: bool) -> Result<Vec<SeenFace>, String> {
        Err("this service has no face detector".to_owned())
    }

    fn recognition(&self) -> Option<&Recognition> {
        None
    }
}

impl Fetch for Blind {
    fn fetch(&self, _: &str, _: usize) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>> {
        Box::pin(std::future::ready(Err("this service fetches nothing".to_owned())))
    }
}
