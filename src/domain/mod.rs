//! The nouns of the product. Pure data with the checks that make an invalid value impossible to build.
//! Nothing here does IO, reads a clock or is serialized: each wire (an API, a payload, SQL, a file) owns its types.

pub mod cidr;
pub mod detection;
pub mod error;
pub mod event;
pub mod evidence;
pub mod face;
pub mod geometry;
pub mod licence;
mod scale;
pub mod task;
pub mod time;

pub use cidr::Cidr;
pub use detection::{Detection, Landmarks};
pub use error::Invalid;
pub use event::{FaceImage, KnownPerson, Message, OriginFace, OriginImage, PictureStream, Reason};
pub use face::{Embedding, FaceOwner, Match, SeenFace, Validity};
pub use geometry::{Point, Polygon, Rect, Roi};
pub use licence::{Licence, Standing, Verdict};
pub use scale::Scale;
pub use task::{Category, Outputs, Payload, Repeat, Rules, Source, Task, TaskId, Transport};
pub use time::{StreamTime, TimeSource, UnixMs};
