//! One ONNX Runtime session of one input size: checked against what the model's decoder reads, fed from a buffer that
//! it owns, so that a frame costs no copy of the input. One thread and no spinning: cameras give the parallelism,
//! a waiting detector must not burn the box.

use ort::ep::CPU;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use super::catalog::{Decoder, Model};
use super::decode::{self, OutputSpec};
use super::error::DetectError;
use super::runtime::Runtime;
use crate::domain::Detection;

/// A model's session for inputs of `width` × `height`.
pub struct OnnxSession {
    session: Session,
    alias: String,
    decoder: Decoder,
    width: usize,
    height: usize,
    outputs: Vec<Output>,
    /// Planar f32 [1, 3, height, width].
    input: Vec<f32>,
}

/// An output that the decoder reads: where it stands among the session's outputs, and how many numbers it has.
struct Output {
    index: usize,
    len: usize,
}

impl OnnxSession {
    pub fn load(runtime: &Runtime, model: &Model, width: usize, height: usize) -> Result<Self, DetectError> {
        Self::load_with(runtime, model, width, height, |found| {
            let wanted = decode::outputs(model.entry.decoder, width, height);
            match_outputs(&wanted, found).ok_or_else(|| {
                let expected: Vec<String> = wanted.iter().map(|spec| show(&spec.name, &spec.shape)).collect();
                format!("the outputs {}", expected.join(", "))
            })
        })
    }

    /// Of a model that says of a face so many numbers; how many is its own affair.
    pub fn load_embedding(runtime: &Runtime, model: &Model, side: usize) -> Result<Self, DetectError> {
        Self::load_with(runtime, model, side, side, |found| {
            embedding_output(found).ok_or_else(|| "one output f32[1, numbers]".to_owned())
        })
    }

    /// `find` tells which outputs are read, or what was expected.
    fn load_with(
        runtime: &Runtime,
        model: &Model,
        width: usize,
        height: usize,
        find: impl FnOnce(&[Outlet]) -> Result<Vec<Output>, String>,
    ) -> Result<Self, DetectError> {
        let session = build(runtime, model, width, height).map_err(|error| DetectError::NotOnnx {
            alias: model.entry.alias.clone(),
            path: model.path.clone(),
            reason: error.to_string(),
        })?;
        let other_shape = |expected: String, found: String| DetectError::OtherShape {
            alias: model.entry.alias.clone(),
            path: model.path.clone(),
            expected,
            found,
        };
        check_input(session.inputs(), width, height).map_err(|(expected, found)| other_shape(expected, found))?;
        let outputs = find(session.outputs())
            .map_err(|expected| other_shape(expected, format!("the outputs {}", list(session.outputs()))))?;
        let input = vec![0.0; 3 * width * height];
        let (alias, decoder) = (model.entry.alias.clone(), model.entry.decoder);
        Ok(Self { session, alias, decoder, width, height, outputs, input })
    }

    /// To be filled before `run`: planes of width × height, as the model's input rule says.
    pub fn input_mut(&mut self) -> &mut [f32] {
        &mut self.input
    }

    /// Runs on the input and appends what is found of at least `threshold`, in pixels of the input.
    pub fn run(&mut self, threshold: f32, found: &mut Vec<Detection>) -> Result<(), DetectError> {
        let (decoder, size) = (self.decoder, (self.width, self.height));
        self.read(|tensors| decode::decode(decoder, tensors, size, threshold, found))
    }

    /// Runs on the input and answers the model's first output.
    pub fn numbers(&mut self) -> Result<Vec<f32>, DetectError> {
        self.read(|tensors| tensors[0].to_vec())
    }

    fn read<T>(&mut self, read: impl FnOnce(&[&[f32]]) -> T) -> Result<T, DetectError> {
        let failed = |error: ort::Error| DetectError::Run { alias: self.alias.clone(), reason: error.to_string() };
        let shape = [1, 3, self.height, self.width];
        let input = TensorRef::from_array_view((shape, self.input.as_slice())).map_err(failed)?;
        let results = self.session.run(ort::inputs![input]).map_err(failed)?;
        let mut tensors = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            let (_, numbers) = results[output.index].try_extract_tensor::<f32>().map_err(failed)?;
            if numbers.len() != output.len {
                let reason = format!("output {} has {} numbers instead of {}", output.index, numbers.len(), output.len);
                return Err(DetectError::Run { alias: self.alias.clone(), reason });
            }
            tensors.push(numbers);
        }
        Ok(read(&tensors))
    }
}

/// With the input's size fixed where the model leaves it open: ONNX Runtime's arena then stops growing after the first
/// run. A pattern of memory would be laid beside what that run took: no time was seen to be won, and 24 MB to be lost
/// (four cameras, inputs of 640 x 384).
fn build(runtime: &Runtime, model: &Model, width: usize, height: usize) -> ort::Result<Session> {
    Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_memory_pattern(false)?
        .with_dimension_override("batch", 1)?
        .with_dimension_override("width", width as i64)?
        .with_dimension_override("height", height as i64)?
        .with_execution_providers([CPU::default().with_arena_allocator(true).build()])?
        .commit_from_memory(&model.onnx)
}

/// One f32 input [1, 3, height, width], where the model may leave any of these open.
fn check_input(inputs: &[Outlet], width: usize, height: usize) -> Result<(), (String, String)> {
    let wanted = [1, 3, height, width];
    match inputs {
        [input] if fits(input.dtype(), &wanted) => Ok(()),
        _ => Err((format!("one input {}", show("f32", &wanted)), format!("the inputs {}", list(inputs)))),
    }
}

/// By name; where names differ, by position, if number and shapes agree.
fn match_outputs(wanted: &[OutputSpec], found: &[Outlet]) -> Option<Vec<Output>> {
    let named: Option<Vec<usize>> =
        wanted.iter().map(|spec| found.iter().position(|outlet| outlet.name() == spec.name)).collect();
    let order = named.or_else(|| (found.len() == wanted.len()).then(|| (0..found.len()).collect()))?;
    wanted
        .iter()
        .zip(order)
        .map(|(spec, index)| {
            fits(found[index].dtype(), &spec.shape).then(|| Output { index, len: spec.shape.iter().product() })
        })
        .collect()
}

fn embedding_output(found: &[Outlet]) -> Option<Vec<Output>> {
    let [outlet] = found else { return None };
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = outlet.dtype() else { return None };
    match shape.as_ref() {
        &[batch, numbers] if batch <= 1 && numbers > 0 => Some(vec![Output { index: 0, len: numbers as usize }]),
        _ => None,
    }
}

fn fits(found: &ValueType, wanted: &[usize]) -> bool {
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = found else { return false };
    shape.len() == wanted.len() && shape.iter().zip(wanted).all(|(&dim, &want)| dim < 0 || dim == want as i64)
}

fn list(outlets: &[Outlet]) -> String {
    let one = |outlet: &Outlet| match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let kind = if *ty == TensorElementType::Float32 { String::new() } else { format!(" of {ty}") };
            let dims: Vec<String> =
                shape.iter().map(|&dim| if dim < 0 { "?".to_owned() } else { dim.to_string() }).collect();
            format!("{}[{}]{kind}", outlet.name(), dims.join(", "))
        }
        _ => format!("{} (no tensor)", outlet.name()),
    };
    if outlets.is_empty() { "(none)".to_owned() } else { outlets.iter().map(one).collect::<Vec<_>>().join(", ") }
}

fn show(name: &str, shape: &[usize]) -> String {
    format!("{name}{shape:?}")
}
