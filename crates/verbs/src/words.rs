//! Words that options take, in Olive's spelling.

/// A value that is one of some words.
pub trait Word: Copy + Send + Sync + 'static {
    /// In the order in which messages list them.
    const ALL: &'static [Self];

    fn word(self) -> &'static str;

    fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.word() == text)
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($variant),+
        }

        impl Word for $name {
            const ALL: &'static [$name] = &[$($name::$variant),+];

            fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }
        }
    )+};
}

words! {
    /// `--method`.
    Method { Lora = "lora", Qlora = "qlora" }

    /// `--torch_dtype`.
    TorchType { Bfloat16 = "bfloat16", Float16 = "float16", Float32 = "float32" }

    /// `--device`.
    Device { Cpu = "cpu", Gpu = "gpu", Npu = "npu" }

    /// `--provider`.
    Provider {
        Cpu = "CPUExecutionProvider",
        Cuda = "CUDAExecutionProvider",
        Dml = "DmlExecutionProvider",
        WebGpu = "WebGpuExecutionProvider",
        Js = "JsExecutionProvider",
        MiGraphX = "MIGraphXExecutionProvider",
        TensorRtRtx = "NvTensorRTRTXExecutionProvider",
        OpenVino = "OpenVINOExecutionProvider",
        Qnn = "QNNExecutionProvider",
        Rocm = "ROCMExecutionProvider",
        TensorRt = "TensorrtExecutionProvider",
        VitisAi = "VitisAIExecutionProvider",
    }

    /// `--precision`.
    Precision {
        Int4 = "int4",
        Int8 = "int8",
        Int16 = "int16",
        Int32 = "int32",
        Uint4 = "uint4",
        Uint8 = "uint8",
        Uint16 = "uint16",
        Uint32 = "uint32",
        Fp4 = "fp4",
        Fp8 = "fp8",
        Fp16 = "fp16",
        Fp32 = "fp32",
        Nf4 = "nf4",
        Bf16 = "bf16",
    }

    /// `--algorithm` of a quantiser.
    Algorithm {
        Awq = "awq",
        Gptq = "gptq",
        Hqq = "hqq",
        KQuant = "kquant",
        Rtn = "rtn",
        SpinQuant = "spinquant",
        QuaRot = "quarot",
        Lpbq = "lpbq",
        Seqmse = "seqmse",
        Adaround = "adaround",
    }

    /// `--exporter`.
    Exporter {
        ModelBuilder = "model_builder",
        Dynamo = "dynamo_exporter",
        TorchScript = "torchscript_exporter",
        Optimum = "optimum_exporter",
    }

    /// `--adapter_type`.
    AdapterType { Lora = "lora", Dora = "dora", Loha = "loha" }

    /// `--int4_quantization_mode`.
    ZeroPoint { Implied = "symmetric", PerBlock = "asymmetric" }
}

impl Precision {
    /// Bits of a weight, for those that whole numbers of 4 or 8 bits stand for.
    pub(crate) fn bits(self) -> Option<u8> {
        match self {
            Precision::Int4 | Precision::Uint4 => Some(4),
            Precision::Int8 | Precision::Uint8 => Some(8),
            _ => None,
        }
    }
}
