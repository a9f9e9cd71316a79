//! An ε to spend, which may be infinite: JSON has no number for that, and YAML writes `.inf`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ε as it is written.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Budget {
    /// A number.
    Finite(f64),
    /// No end.
    Infinite(Infinite),
}

/// YAML's infinity.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) enum Infinite {
    /// `.inf`
    #[serde(rename = ".inf")]
    Infinite,
}

pub(super) fn serialize<S: Serializer>(
    epsilon: &Option<f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    epsilon
        .map(|epsilon| match epsilon {
            f64::INFINITY => Budget::Infinite(Infinite::Infinite),
            finite => Budget::Finite(finite),
        })
        .serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    let budget = Option::<Budget>::deserialize(deserializer)?;
    Ok(budget.map(|budget| match budget {
        Budget::Finite(epsilon) => epsilon,
        Budget::Infinite(_) => f64::INFINITY,
    }))
}

#[cfg(test)]
mod tests {
    use crate::config::Privacy;

    #[test]
    fn an_infinite_budget_survives_json() {
        for (epsilon, text) in
            [(None, "null"), (Some(8.0), "8.0"), (Some(f64::INFINITY), "\".inf\"")]
        {
            let privacy = Privacy { target_epsilon: epsilon, ..Privacy::default() };
            let json = serde_json::to_value(&privacy).unwrap();
            assert_eq!(json["target_epsilon"].to_string(), text);
            let again: Privacy = serde_json::from_value(json).unwrap();
            assert_eq!(again.target_epsilon, epsilon);
        }
        assert!(serde_json::from_str::<Privacy>(r#"{"target_epsilon": ".nan"}"#).is_err());
    }
}
