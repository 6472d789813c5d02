use super::*;
use crate::key_pair::KeyPair;
use crate::noise::Pattern;
use serde_json::Value;

mod pair;
mod vectors;
