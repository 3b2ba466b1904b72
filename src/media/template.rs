//! Pipelines as data: `pipelines/*.toml` holds the text of each, and names the properties that differ per camera.
//!
//! A parameter's value is set as a property of a named element; it never becomes part of the text.

use std::collections::BTreeMap;

use gst::prelude::*;
use serde::Deserialize;

use super::{MediaError, SourceKind};

/// The decoder in every template, whose pad appears once the stream is known.
pub const DECODE: &str = "decode";
/// The sink in every template.
pub const FRAMES: &str = "frames";
pub const SOURCE: &str = "source";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    #[expect(dead_code, reason = "for the people who read the file; required so that none lacks it")]
    description: String,
    template: String,
    /// Parameter to `element.property`.
    parameters: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy)]
pub struct TemplateFile {
    pub name: &'static str,
    text: &'static str,
}

macro_rules! template_file {
    ($name:literal) => {
        TemplateFile { name: $name, text: include_str!(concat!("../../pipelines/", $name, ".toml")) }
    };
}

pub const DECODE_ONLY: TemplateFile = template_file!("decode-only");
pub const RTSP_CODED: TemplateFile = template_file!("rtsp-coded");
pub const CODED: TemplateFile = template_file!("coded");

impl SourceKind {
    pub fn template(self) -> TemplateFile {
        match self {
            Self::File => template_file!("file"),
            Self::Http => template_file!("http"),
            Self::Rtsp => template_file!("rtsp"),
            Self::V4l2 => template_file!("v4l2"),
            Self::Test => template_file!("test"),
        }
    }
}

impl TemplateFile {
    /// The pipeline, with `values` given to the parameters. Not yet linked from the decoder to the sink.
    pub fn build(self, values: &[(&str, &str)]) -> Result<gst::Pipeline, MediaError> {
        let fail = |problem: String| MediaError::Template { template: self.name, problem };
        let template: Template = toml::from_str(self.text).map_err(|e| fail(e.to_string()))?;
        let pipeline = gst::parse::launch(&template.template)
            .map_err(|e| fail(e.to_string()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| fail("not a whole pipeline".to_owned()))?;
        for (parameter, value) in values {
            let target =
                template.parameters.get(*parameter).ok_or_else(|| fail(format!("no parameter {parameter}")))?;
            set(&pipeline, target, value).ok_or_else(|| fail(format!("{parameter} does not fit {target}")))?;
        }
        Ok(pipeline)
    }
}

fn set(pipeline: &gst::Pipeline, target: &str, value: &str) -> Option<()> {
    let (element, property) = target.split_once('.')?;
    let element = pipeline.by_name(element)?;
    let spec = element.find_property(property)?;
    // Text goes in as it is: GStreamer's own reading of text would take quotes and escapes away.
    let value = if spec.value_type() == gst::glib::Type::STRING {
        value.to_value()
    } else {
        gst::glib::Value::deserialize_with_pspec(value, &spec).ok()?
    };
    element.set_property_from_value(property, &value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_builds_and_every_parameter_names_a_property() {
        gst::init().unwrap();
        let kinds = [SourceKind::File, SourceKind::Http, SourceKind::Rtsp, SourceKind::V4l2, SourceKind::Test]
            .map(SourceKind::template);
        for file in kinds.into_iter().chain([DECODE_ONLY, RTSP_CODED, CODED]) {
            let pipeline = file.build(&[]).unwrap_or_else(|e| panic!("{e}"));
            assert!([SOURCE, DECODE, FRAMES].iter().all(|name| pipeline.by_name(name).is_some()), "{}", file.name);
            let template: Template = toml::from_str(file.text).unwrap();
            for target in template.parameters.values() {
                let (element, property) = target.split_once('.').unwrap();
                assert!(pipeline.by_name(element).unwrap().find_property(property).is_some(), "{target}");
            }
        }
    }

    #[test]
    fn a_location_is_never_read_as_pipeline_text() {
        gst::init().unwrap();
        let evil = "\"a\" ! filesink location=/tmp/x name=\\y";
        let pipeline = SourceKind::File.template().build(&[("path", evil)]).unwrap();
        assert_eq!(pipeline.by_name(SOURCE).unwrap().property::<String>("location"), evil);
        assert_eq!(pipeline.iterate_elements().into_iter().count(), 3);
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error() {
        gst::init().unwrap();
        assert!(SourceKind::File.template().build(&[("sync", "perhaps")]).is_err());
        assert!(SourceKind::File.template().build(&[("colour", "red")]).is_err());
    }
}
