//! The passes LoRA, QLoRA and LoftQ.

use super::super::Era;
use super::super::option::{BELOW_ONE, Block, Default, Kind, Opt, POSITIVE, Special, at_least};

pub(crate) static LORA: Block = Block {
    name: "LoRA",
    doc: "Trains a low-rank adapter on a Hugging Face model.",
    wrapper: Some("config"),
    outer: super::PASS,
    parts: &[
        ADAPTER,
        TRAINING,
        &[
            Opt::new("double_quant", Kind::Bool, "An option of QLoRA.").ignored("it is an option of QLoRA"),
            Opt::new("quant_type", Kind::Any, "An option of QLoRA.").ignored("it is an option of QLoRA"),
            Opt::new("compute_dtype", Kind::Any, "An option of QLoRA.").ignored("it is an option of QLoRA"),
        ],
    ],
    open: None,
};

/// Olive's own name for LoRA with `use_dora`.
pub(crate) static DORA: Block = Block {
    name: "DoRA",
    doc: "Trains a weight-decomposed low-rank adapter: LoRA with `use_dora`.",
    wrapper: Some("config"),
    outer: super::PASS,
    parts: &[ADAPTER, TRAINING],
    open: None,
};

pub(crate) static QLORA: Block = Block {
    name: "QLoRA",
    doc: "Trains a low-rank adapter on a model whose linear layers are held in 4 bits.",
    wrapper: Some("config"),
    outer: super::PASS,
    parts: &[
        ADAPTER,
        &[
            Opt::new("compute_dtype", DTYPE, "Type of computation; null is `torch_dtype`."),
            Opt::new("quant_type", Kind::Choice(&["nf4", "fp4"]), "The 4-bit code.").default("\"nf4\""),
            Opt::new("double_quant", Kind::Bool, "Quantise the block scales too.").default("false"),
            Opt::new("save_quant_config", Kind::Bool, "Whether Olive's merge stays in 4 bits.")
                .only(Era::New)
                .ignored_unless("true", "merging always goes into the weights as they are stored"),
        ],
        TRAINING,
    ],
    open: None,
};

pub(crate) static LOFTQ: Block = Block {
    name: "LoftQ",
    doc: "Trains a low-rank adapter on a model whose linear layers are held in 4 bits, beginning with what the 4 bits leave \
          over of the weights.",
    wrapper: Some("config"),
    outer: super::PASS,
    parts: &[
        ADAPTER,
        &[
            Opt::new("compute_dtype", DTYPE, "Type of computation; null is `torch_dtype`."),
            Opt::new(
                "loftq_iter",
                at_least(1),
                "How often the 4-bit weights and the adapter are adjusted to each other before training.",
            )
            .default("1"),
            Opt::new("quant_type", Kind::Text, "The 4-bit code.")
                .refused_unless("\"nf4\"", "LoftQ quantises to nf4; QLoRA has fp4 too"),
            Opt::new("double_quant", Kind::Bool, "Quantise the block scales too.")
                .refused_unless("false", "LoftQ keeps the scales as they are; QLoRA can quantise them"),
            Opt::new("save_quant_config", Kind::Bool, "Whether Olive's merge stays in 4 bits.")
                .only(Era::New)
                .ignored_unless("true", "merging always goes into the weights as they are stored"),
        ],
        TRAINING,
    ],
    open: None,
};

const DTYPE: Kind = Kind::Choice(&["bfloat16|bf16", "float16|fp16|half", "float32|fp32|float"]);

const ADAPTER: &[Opt] = &[
    Opt::new("r", at_least(1), "Rank of the adapter.").was(&["lora_r"]).default("64"),
    Opt::new("alpha", POSITIVE, "The adapter's output is scaled by alpha / r.")
        .was(&["lora_alpha"])
        .default("16.0"),
    Opt::new("lora_dropout", BELOW_ONE, "Dropout on the adapter's input.")
        .defaults(Default::Json("0.0"), Default::Json("0.05")),
    Opt::new("use_rslora", Kind::Bool, "Scale by alpha / √r instead.").default("false"),
    Opt::new(
        "use_dora",
        Kind::Bool,
        "DoRA: the length of every row of a weight is trained apart from its direction.",
    )
    .default("false"),
    Opt::new(
        "target_modules",
        Kind::Special(Special::TargetModules),
        "Names of the layers that get an adapter, `all-linear`, or a regular expression; null is the architecture's \
         default (QLoRA and LoftQ: all linear layers).",
    ),
    Opt::new("modules_to_save", Kind::Texts, "Layers that are trained whole."),
    Opt::new("torch_dtype", DTYPE, "Type of computation on a GPU; the CPU computes in float32.")
        .default("\"bfloat16\""),
];

const TRAINING: &[Opt] = &[
    Opt::new(
        "train_data_config",
        Kind::Special(Special::DataConfig),
        "Dataset to train on: a name in `data_configs`.",
    )
    .required(),
    Opt::new("eval_data_config", Kind::Special(Special::DataConfig), "Dataset to evaluate on."),
    Opt::new(
        "eval_dataset_size",
        Kind::Special(Special::EvalSize),
        "Hold out this many blocks (1 or more) or this share of them (below 1) for evaluation.",
    )
    .only(Era::Old),
    Opt::new("training_args", Kind::Block(&super::TRAINING_ARGS), "How to train."),
    Opt::new("allow_tf32", Kind::Bool, "Use TF32 on a GPU.").quiet(),
    Opt::new("bias", Kind::Text, "Train biases too.")
        .only(Era::Old)
        .refused_unless("\"none\"", "only adapters are trained"),
    Opt::new("use_ort_trainer", Kind::Bool, "Train with ONNX Runtime.")
        .only(Era::Old)
        .ignored_unless("false", "there is one trainer, which needs neither torch nor ONNX Runtime"),
    Opt::new("ortmodule_onnx_opset_version", Kind::Any, "Option of ONNX Runtime's trainer.")
        .only(Era::Old)
        .ignored("there is one trainer"),
    Opt::new("device_map", Kind::Any, "Placement on devices; see `--device`.").only(Era::New).quiet(),
    Opt::new("ephemeral_gpu_offload", Kind::Bool, "Initialise on the GPU.")
        .only(Era::New)
        .ignored_unless("false", "it only matters for DoRA"),
];
