//! What stands in for the outside world in demonstrations and tests: a camera, and a scene for it to film.

pub mod camera;
mod cast;
mod clip;
mod paint;
mod portrait;
pub mod recording;
pub mod scene;
