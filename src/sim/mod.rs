//! Stand-ins for what surrounds the box: a camera before it, a receiver behind it.

pub mod receiver;
