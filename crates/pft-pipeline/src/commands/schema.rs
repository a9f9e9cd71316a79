//! `schema`: JSON Schemas of pipeline and config files, for editors that complete and check them.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::print;
use crate::{RunError, stages};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// `pipeline`, or the stage whose config is meant
    #[arg(default_value = "pipeline")]
    what: String,
    /// Writes the schemas of pipelines and of all shipped stages into this folder, as NAME.schema.json
    #[arg(long, value_name = "DIR", conflicts_with = "what")]
    output: Option<PathBuf>,
}

impl SchemaArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let Some(folder) = &self.output else {
            print(&format!("{:#}", schema(&self.what)?));
            return Ok(0);
        };
        let failed =
            |error: std::io::Error| RunError::config(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
        for name in std::iter::once("pipeline").chain(stages::SHIPPED) {
            let text = format!("{:#}\n", schema(name)?);
            std::fs::write(folder.join(format!("{name}.schema.json")), text).map_err(failed)?;
        }
        Ok(0)
    }
}

fn schema(what: &str) -> Result<Value, RunError> {
    if what == "pipeline" {
        return Ok(pipeline());
    }
    let description = stages::describe(&stages::find(what)?)?;
    let mut schema = description.config;
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(format!("Config of {}", description.name));
    Ok(schema)
}

/// The schema of a pipeline file.
fn pipeline() -> Value {
    let strings = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let described = |mut schema: Value, about: &str| {
        schema["description"] = json!(about);
        schema
    };
    let text = |about: &str| described(json!({ "type": "string" }), about);
    let amount = |about: &str| described(json!({ "type": ["string", "number"] }), about);
    let whole =
        |least: u32, about: &str| described(json!({ "type": "integer", "minimum": least }), about);
    let stage = json!({
        "type": "object",
        "required": ["stage"],
        "additionalProperties": false,
        "properties": {
            "stage": text("The stage: a name, or the path of its executable from this file"),
            "config": text("Its config file, from this file"),
            "inputs": described(strings, "What each input port is connected to: STAGE or STAGE.PORT"),
            "set": described(json!({ "type": "object" }), "Overrides of the config, by dotted key"),
            "threads": whole(1, "Threads that it is given"),
            "memory": amount("Memory that it needs, such as 8 GB: stages that need more than there is run \
                              one after another"),
            "timeout": amount("After this time it is stopped, such as 6 h"),
            "retries": whole(0, "How often it is started again after a failure"),
        },
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Pipeline",
        "type": "object",
        "required": ["pipeline"],
        "anyOf": [{ "required": ["stages"] }, { "required": ["include"] }],
        "additionalProperties": false,
        "properties": {
            "pipeline": text("The pipeline's name"),
            "description": text("What it is for"),
            "include": {
                "type": "array",
                "items": { "type": "string" },
                "description": "Other pipeline files, from this one: their stages join as PIPELINE/STAGE",
            },
            "sweep": {
                "type": "object",
                "additionalProperties": { "type": "array", "minItems": 1 },
                "description": "Values by STAGE.KEY: the stage, and what stands on it, is made for each",
            },
            "stages": {
                "type": "object",
                "propertyNames": { "pattern": "^[^./]+$" },
                "additionalProperties": stage,
            },
        },
    })
}
