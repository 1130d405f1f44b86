//! The pass `GraphSurgeries`: changes of an ONNX graph, one after the other.

use super::graph_pass::{EXTERNAL_DATA, GraphEdit, GraphPass};
use super::pass::{Pass, RunContext};
use olive_config::option::{Block, Kind, Misfit, MisfitPlace, Special};
use olive_config::{OptionValue, PASS, PassDefinition, Setting, list_names, nearest, options};
use olive_core::Result;
use olive_core::event::Event;
use olive_core::handle::ModelKind;
use olive_onnx::edit::{self, GraphFile, Outcome};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::path::Path;

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct GraphSurgeriesOptions {
        SURGERIES {
            /// What is changed, in order: `[{"surgeon": "TieWordEmbeddings"}]`; also `QuantizeEmbeddingInt8` and
            /// `ShareEmbeddingLmHead`.
            pub surgeries: Surgeons, required();
            /// Whether equal tensors become one; here graphs have none that matter.
            - "remove_duplicate_initializers" = olive_config::option::BOOL, quiet();
        }
    }
}

/// Surgeons by their names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Surgeons(pub Vec<Surgeon>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Surgeon {
    TieWordEmbeddings,
    QuantizeEmbeddingInt8,
    ShareEmbeddingLmHead,
}

impl Surgeon {
    const ALL: [Surgeon; 3] =
        [Surgeon::TieWordEmbeddings, Surgeon::QuantizeEmbeddingInt8, Surgeon::ShareEmbeddingLmHead];

    fn name(self) -> &'static str {
        match self {
            Surgeon::TieWordEmbeddings => "TieWordEmbeddings",
            Surgeon::QuantizeEmbeddingInt8 => "QuantizeEmbeddingInt8",
            Surgeon::ShareEmbeddingLmHead => "ShareEmbeddingLmHead",
        }
    }

    fn operate(self, file: &mut GraphFile) -> Result<Outcome> {
        match self {
            Surgeon::TieWordEmbeddings => edit::tie_word_embeddings(file),
            Surgeon::QuantizeEmbeddingInt8 => edit::quantize_embedding_int8(file),
            Surgeon::ShareEmbeddingLmHead => edit::share_embedding_head(file),
        }
    }
}

/// Surgeons of Olive's that there are none of here.
const OTHERS: &[&str] = &[
    "RenameInputs",
    "RenameOutputs",
    "RenameInputDims",
    "RenameOutputDims",
    "InferShapes",
    "RemoveShapes",
    "RemoveAllTensorValueShapes",
    "RemoveInitializerFromInputs",
    "ReorderInputs",
    "RemoveInputs",
    "ZeroOutInput",
    "ExposeOutputs",
    "ExposeQuantizedOutput",
    "AddIntermediateTensorsToOutputs",
    "ReplaceErfWithTanh",
    "DecomposeQuickGelu",
    "DecomposeRotaryEmbedding",
    "RMSNormToL2Norm",
    "SimplifiedLayerNormToRMSNorm",
    "SimplifiedLayerNormToL2Norm",
    "PowReduceSumPowDiv2LpNorm",
    "MatMulAddToGemm",
    "GemmToMatMulAdd",
    "RemoveRopeMultiCache",
    "AttentionMaskToSequenceLengths",
    "ReplaceAttentionMaskValue",
    "RemoveGidxFromMatMulNBits",
    "RemoveQDQ",
    "QDQToClip",
    "RemoveDeqLin",
    "MatMulToTransposeConvTranspose",
    "RemoveIntermediarySqueezeAndUnsqueeze",
    "ReciprocalMulToDiv",
    "DeduplicateSubgraphInitializers",
    "DeduplicateNodes",
    "PackedAttentionToLoopMHA",
    "PackedAttentionToPackedMHA",
    "RemoveMemcpy",
    "StandaloneReduceSum",
    "Gather",
    "GatherElements",
    "Flatten",
    "ReduceMax",
    "ReshapeReduceSum",
    "ReshapeClipReduceSum",
    "Non4DModelInputs",
    "Non4DModelOutputs",
    "Non4DInitializers",
    "Non4DReshape",
    "Non4DExpand",
    "Non4DTranspose",
    "Non4DSlice",
    "Non4DLpNorm",
];

static SURGEONS: Special = Special {
    value: "a list of surgeons",
    schema: || {
        json!({
            "type": "array",
            "items": {"type": "object", "properties": {"surgeon": {"type": "string"}}, "required": ["surgeon"]}
        })
    },
    check: |node| surgeons(&node.to_json()).map(drop),
};

impl OptionValue for Surgeons {
    const KIND: Kind = Kind::Special(&SURGEONS);

    fn read(setting: &Setting) -> Option<Surgeons> {
        surgeons(&setting.json).ok().map(Surgeons)
    }
}

fn surgeons(json: &Json) -> Result<Vec<Surgeon>, Misfit> {
    let misfit =
        |message: String, hint: String| Misfit { message, hint: Some(hint), place: MisfitPlace::Value };
    let example = || "for example [{\"surgeon\": \"TieWordEmbeddings\"}]".to_owned();
    let Some(items) = json.as_array() else {
        return Err(misfit("expected a list of objects with a `surgeon` each".into(), example()));
    };
    let one = |item: &Json| {
        let Some(name) = item["surgeon"].as_str() else {
            return Err(misfit("an item has no `surgeon`".into(), example()));
        };
        if let Some(surgeon) = Surgeon::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name))
        {
            return Ok(surgeon);
        }
        let ours = Surgeon::ALL.map(Surgeon::name);
        let possible = format!("there are {}", list_names(ours));
        if OTHERS.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(misfit(format!("the surgeon {name} is not implemented"), possible));
        }
        let hint = nearest(name, ours.into_iter().chain(OTHERS.iter().copied()));
        Err(misfit(
            format!("there is no surgeon {name}"),
            hint.map_or(possible, |meant| format!("did you mean {meant}?")),
        ))
    };
    items.iter().map(one).collect()
}

static BLOCK: Block = Block {
    name: "GraphSurgeries",
    doc: "Changes an ONNX graph.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[SURGERIES, EXTERNAL_DATA],
    open: None,
};

pub static GRAPH_SURGERIES: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "graph-passes.md",
    example: "\"tie\": {\"type\": \"GraphSurgeries\", \"surgeries\": [{\"surgeon\": \"TieWordEmbeddings\"}]}",
    gives: ModelKind::Onnx,
    read: |_, values, _, _| {
        let options = GraphSurgeriesOptions::read(&values)?;
        let surgeons = options.surgeries.clone();
        Some(GraphPass::read(BLOCK.name, SURGERIES, &values, options, surgeons))
    },
};

impl GraphEdit for Surgeons {
    fn edit(&self, file: &mut GraphFile, _dir: &Path, context: &RunContext) -> Result<()> {
        for surgeon in &self.0 {
            context.cancel.check()?;
            let message = match surgeon.operate(file)? {
                Outcome::Changed(what) => format!("{}: {what}", surgeon.name()),
                Outcome::Unchanged(why) => format!("{} changes nothing: {why}", surgeon.name()),
            };
            context.events.emit(Event::Info { message });
        }
        Ok(())
    }
}
