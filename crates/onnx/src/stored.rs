//! Matrices that the checkpoint has as codes: they go into the graph as they are.

use super::OnnxError;
use super::data_file::Matrix;
use super::decoder_graph::DecoderGraph;
use super::graph::{MICROSOFT, attr_int};
use super::initializer_names::initializer_name;
use super::options::Provider;
use super::proto::data_type;
use olive_arch::Spec;
use olive_core::Result;
use olive_kernels::quant::{ElementType, Part, PartKind};
use olive_model::{Checkpoint, ModuleSettings};

const EMBEDDING: &str = "model.embed_tokens";

/// The initializers of a matrix.
struct Names {
    codes: String,
    scales: String,
    zeros: Option<String>,
}

impl Names {
    fn of(base: &str, settings: ModuleSettings) -> Names {
        let zeros = (!settings.symmetric).then(|| format!("{base}.qzeros"));
        Names { codes: format!("{base}.qweight"), scales: format!("{base}.scales"), zeros }
    }
}

impl DecoderGraph<'_> {
    /// How the checkpoint has all of a matrix as codes, if it has.
    pub(super) fn stored_settings(&self, matrix: &Matrix) -> Option<ModuleSettings> {
        let mut settings =
            matrix.parts.iter().map(|part| self.source.groups(&part.tensor).map(|g| g.settings));
        let first = settings.next()??;
        settings.all(|other| other == Some(first)).then_some(first)
    }

    /// Whether the parts of a matrix can be one: all in float, or all as codes of one kind and with one order of columns.
    pub(super) fn is_stored_alike(&self, matrix: &Matrix) -> bool {
        let in_float = matrix.parts.iter().all(|part| self.source.groups(&part.tensor).is_none());
        let mut orders = matrix.parts.iter().map(|part| self.stored_order(&part.tensor));
        let first = orders.next().flatten();
        in_float || (self.stored_settings(matrix).is_some() && orders.all(|other| other == first))
    }

    /// The order in which the columns of a tensor's codes come, where it is not their own.
    fn stored_order(&self, tensor: &str) -> Option<&[u32]> {
        self.source.groups(tensor)?.order()
    }

    /// How the checkpoint has the embedding as codes that tokens can be looked up in, if it has.
    pub(super) fn stored_embedding(&self) -> Option<ModuleSettings> {
        let groups = self.source.groups(Spec::EMBEDDING)?;
        groups.order().is_none().then_some(groups.settings)
    }

    /// Whether the checkpoint has layers as codes.
    pub(super) fn stored_layers(&self) -> bool {
        let linears = self.spec.linears(0);
        linears.iter().any(|linear| self.source.groups(&linear.weight_name()).is_some())
    }

    /// `output = input · matrixᵀ` with the codes of the checkpoint.
    pub(super) fn stored_matmul(
        &mut self,
        node: &str,
        input: &str,
        output: &str,
        matrix: Matrix,
        settings: ModuleSettings,
    ) -> Result<()> {
        let base = format!("{}NBits", initializer_name(node));
        let names = Names::of(&base, settings);
        let block = block_size(&base, settings, matrix.cols)?;
        let (rows, blocks) = (matrix.rows(), matrix.cols / block);
        let order =
            matrix.parts.first().and_then(|part| self.stored_order(&part.tensor)).map(<[u32]>::to_vec);
        let sorted = order.map(|order| self.sorted_columns(node, input, &order));
        let input = sorted.as_deref().unwrap_or(input);
        self.nbits(&format!("{node}NBits"), [input, output], &names, settings, [rows, matrix.cols])?;
        let blob = block * usize::from(settings.bits) / 8;
        self.put_stored(&names, matrix, settings, vec![rows, blocks, blob], blocks);
        Ok(())
    }

    /// What enters a product, in the order of the columns of its codes: the kernels take the groups of a row one after the
    /// other, and `g_idx`, which ONNX Runtime's operator has an input for, is not heeded by that of the CPU.
    fn sorted_columns(&mut self, node: &str, input: &str, order: &[u32]) -> String {
        let name = format!("{}.order", initializer_name(node));
        let bytes = order.iter().flat_map(|col| (*col as i32).to_le_bytes()).collect();
        self.data.bytes(&name, data_type::INT32, &[order.len()], bytes);
        let axis = vec![attr_int("axis", -1)];
        self.graph.op("Gather", &format!("{node}/Sort"), &[input, &name], axis)
    }

    fn nbits(
        &mut self,
        node: &str,
        [input, output]: [&str; 2],
        names: &Names,
        settings: ModuleSettings,
        [rows, cols]: [usize; 2],
    ) -> Result<()> {
        let mut inputs = vec![input, names.codes.as_str(), names.scales.as_str()];
        inputs.extend(names.zeros.as_deref());
        let level = match (&self.options.quantisation, self.options.provider) {
            (Some(quantisation), _) => quantisation.accuracy_level,
            (None, Provider::Cpu) => 4,
            (None, _) => 0,
        };
        let attributes = vec![
            attr_int("accuracy_level", i64::from(level)),
            attr_int("bits", i64::from(settings.bits)),
            attr_int("block_size", block_size(node, settings, cols)? as i64),
            attr_int("K", cols as i64),
            attr_int("N", rows as i64),
        ];
        self.graph.node("MatMulNBits", MICROSOFT, node, &inputs, &[output], attributes);
        Ok(())
    }

    /// Looks tokens up in the codes of the embedding.
    pub(super) fn stored_gather(&mut self, settings: ModuleSettings) -> Result<String> {
        let (vocab, hidden) = (self.spec.vocab_size, self.spec.hidden_size);
        self.source.expect_shape(Spec::EMBEDDING, &[vocab, hidden])?;
        let block = block_size(EMBEDDING, settings, hidden)?;
        let names = Names::of(EMBEDDING, settings);
        let mut inputs = vec![names.codes.as_str(), "input_ids", names.scales.as_str()];
        inputs.extend(names.zeros.as_deref());
        let node = "/model/embed_tokens/GatherBlockQuantized";
        let output = format!("{node}/output_0");
        let attributes =
            vec![attr_int("bits", i64::from(settings.bits)), attr_int("block_size", block as i64)];
        self.graph.node("GatherBlockQuantized", MICROSOFT, node, &inputs, &[&output], attributes);
        let row = hidden * usize::from(settings.bits) / 8;
        let matrix = Matrix::whole(Spec::EMBEDDING, vocab, hidden);
        self.put_stored(&names, matrix, settings, vec![vocab, row], hidden / block);
        Ok(output)
    }

    /// Whether the head is the embedding's codes, which the graph has already.
    pub(super) fn shares_stored_embedding(&self) -> bool {
        let embedding = self.stored_embedding().is_some();
        let has_lookup = !self.options.exclude_embeds;
        embedding && has_lookup && self.spec.tied && self.options.shared_embeddings != Some(false)
    }

    pub(super) fn head_on_stored_embedding(&mut self, hidden: &str, logits: &str) -> Result<()> {
        let (vocab, width) = (self.spec.vocab_size, self.spec.hidden_size);
        let Some(settings) = self.stored_embedding() else { return Ok(()) };
        self.matmuls.push("/lm_head/MatMul".to_owned());
        let block = block_size("lm_head", settings, width)?;
        let blob = block * usize::from(settings.bits) / 8;
        let mut names = Names::of(EMBEDDING, settings);
        let shape = self.graph.ints(&[vocab as i64, (width / block) as i64, blob as i64]);
        names.codes = self.graph.op("Reshape", "/lm_head/Reshape_tied", &[&names.codes, &shape], vec![]);
        self.nbits("/lm_head/MatMulNBits", [hidden, logits], &names, settings, [vocab, width])
    }

    fn put_stored(
        &mut self,
        names: &Names,
        matrix: Matrix,
        settings: ModuleSettings,
        code_dims: Vec<usize>,
        blocks: usize,
    ) {
        let rows = matrix.rows();
        let zero_bytes = (blocks * usize::from(settings.bits)).div_ceil(8);
        let part = |kind, element, dims| Part { kind, element, dims };
        let scales = ElementType::Float(self.options.float);
        let mut parts = vec![
            (names.codes.clone(), part(PartKind::Codes, ElementType::U8, code_dims)),
            (names.scales.clone(), part(PartKind::Scales, scales, vec![rows, blocks])),
        ];
        if let Some(zeros) = &names.zeros {
            parts.push((zeros.clone(), part(PartKind::ZeroPoints, ElementType::U8, vec![rows, zero_bytes])));
        }
        self.data.stored(parts, matrix);
    }
}

/// Whether ONNX Runtime can work on all codes of a checkpoint.
///
/// # Errors
/// A matrix whose groups it has no kernel for.
pub fn check_codes(checkpoint: &Checkpoint) -> Result<()> {
    for tensor in checkpoint.tensors() {
        if let Some(groups) = tensor.groups() {
            block_size(&tensor.name, groups.settings, groups.shape()[1])?;
        }
    }
    Ok(())
}

/// Neighbours with one scale, as ONNX Runtime's kernels take them: a power of two from 16 on. Other groups are cut into blocks
/// that have the scale and the zero point of the group.
fn block_size(weight: &str, settings: ModuleSettings, cols: usize) -> Result<usize> {
    /// The largest block that kernels are made for.
    const LARGEST: usize = 256;
    let group = settings.group.unwrap_or(cols);
    if group.is_power_of_two() && group >= 16 {
        return Ok(group);
    }
    let block = LARGEST.min(1 << group.trailing_zeros().min(16));
    if group == 0 || block < 16 {
        let why = format!(
            "`{weight}` has a scale for every {group} weights of a row, and ONNX Runtime takes blocks of 16, 32, 64 and so on; \
             quantise it with a `group_size` such as 32"
        );
        return Err(OnnxError::Unsupported(why).into());
    }
    Ok(block)
}
