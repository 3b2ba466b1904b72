//! The one integration binary: a module a topic.

mod deliver;
mod kill9;
mod messages;
mod outbox;
mod receiver;
mod registry;
