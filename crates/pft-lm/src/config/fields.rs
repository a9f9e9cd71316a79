//! The fields of `config.json`, checked one by one.

use serde_json::{Map, Value};

use super::{Activation, ConfigError, invalid};

/// Takes known fields out of the object, so that what is left is `other`.
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// A field that stays among `other`, to be written back as it was.
    pub(super) fn keep(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// Whether a field is there, be it null.
    pub(super) fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// A positive number that stays among `other`.
    pub(super) fn kept_number(&self, field: &'static str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.keep(field) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
            _ => Err(invalid(field, format!("is {value}, not a positive number"))),
        }
    }

    /// A size that stays among `other`.
    pub(super) fn kept_size(&self, field: &'static str) -> Result<Option<usize>, ConfigError> {
        self.keep(field).map(|value| size(field, value)).transpose()
    }

    pub(super) fn take(&mut self, field: &'static str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    pub(super) fn size(&mut self, field: &'static str) -> Result<Option<usize>, ConfigError> {
        self.take(field).map(|value| size(field, &value)).transpose()
    }

    pub(super) fn required(&mut self, field: &'static str) -> Result<usize, ConfigError> {
        self.size(field)?.ok_or(ConfigError::Missing { field })
    }

    pub(super) fn number(&mut self, field: &'static str, default: f64) -> Result<f64, ConfigError> {
        let Some(value) = self.take(field) else { return Ok(default) };
        match value.as_f64() {
            Some(number) if number.is_finite() && number > 0.0 => Ok(number),
            _ => Err(invalid(field, format!("is {value}, not a positive number"))),
        }
    }

    pub(super) fn flag(&mut self, field: &'static str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.take(field) else { return Ok(default) };
        value.as_bool().ok_or_else(|| invalid(field, format!("is {value}, not true or false")))
    }

    pub(super) fn tokens(&mut self, field: &'static str) -> Result<Vec<u32>, ConfigError> {
        let wrong = |value: &Value| invalid(field, format!("is {value}, not a token id"));
        let token = |value: &Value| {
            value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(value))
        };
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(token).collect(),
            Some(value) => Ok(vec![token(&value)?]),
        }
    }

    pub(super) fn activation(
        &mut self,
        field: &'static str,
        default: &str,
    ) -> Result<Activation, ConfigError> {
        match self.take(field) {
            None => Activation::parse(field, default),
            Some(Value::String(name)) => Activation::parse(field, &name),
            Some(value) => Err(invalid(field, format!("is {value}, not a name"))),
        }
    }
}

fn size(field: &'static str, value: &Value) -> Result<usize, ConfigError> {
    // The bound keeps every product of two sizes far from overflow.
    match value.as_u64() {
        Some(size) if (1..=1 << 28).contains(&size) => Ok(size as usize),
        _ => Err(invalid(field, format!("is {value}, not a whole number from 1 to 2^28"))),
    }
}
