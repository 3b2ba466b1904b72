//! The one integration binary: a module a topic.

mod rules_golden;
mod rules_props;
mod scenarios;
