//! The options of training, against numbers of PEFT, transformers and torch (`tests/fixtures/train/make.py`).

mod exact;
mod numbers;
mod packing;
mod seen;
mod selection;
mod trajectories;
