//! Stand-ins for what surrounds the box: a camera before it, a receiver behind it.

pub mod receiver;
//! What stands in for the outside world in demonstrations and tests: a camera, and a scene for it to film.

pub mod camera;
mod clip;
