//! What stands in for the outside world in demonstrations and tests: a camera, a scene for it to film, and a receiver
//! of what the box sends.

pub mod camera;
mod cast;
mod clip;
pub mod fault;
mod paint;
mod portrait;
pub mod receiver;
pub mod recording;
mod reel;
pub mod reports;
pub mod scene;
mod stage;
