//! `search_strategy`: which values of options are tried, and in which order.

mod order;
mod space;
mod strategy;

pub use order::{PointOrder, RandomOrder};
pub use space::{
    Alternative, ChosenValue, PassChoice, Search, SearchPoint, SearchSpace, SearchedOption, SearchedPass,
};
pub use strategy::{ExecutionOrder, Sampler, SearchStrategy};
pub(crate) use strategy::{SAMPLER_CONFIG, SEARCH, SamplerName, StrategyOptions};
