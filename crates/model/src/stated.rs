//! What the files of a folder say about how its weights are quantised. Beside float weights it means nothing.

use super::ModelError;
use super::quantisation::{ModuleSettings, QuantisationSettings};
use super::stored_file::read_json;
use olive_core::Result;
use serde_json::Value;
use std::path::Path;

/// Objects of config.json that say how weights are quantised.
pub(crate) const KEYS: [&str; 2] = [QuantisationSettings::KEY, "compression_config"];
/// Files with such an object, of the first tools, and the method of those that name none.
const FILES: [(&str, &str); 2] = [("quantize_config.json", "gptq"), ("quant_config.json", "awq")];

/// A statement about quantised weights.
pub(crate) struct Statement {
    /// For messages: where it is and what it says.
    pub(crate) text: String,
    method: String,
    object: Value,
}

/// A way of storing weights that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredFormat {
    Olive(QuantisationSettings),
    Gptq {
        settings: ModuleSettings,
        /// How much less zero points are in the file.
        less: u8,
        /// Modules may have other settings, which their shapes tell.
        varied: bool,
    },
    Awq(ModuleSettings),
    Bitsandbytes,
    /// Numbers of 8 bits, with a scale per block of this shape, per row, or per matrix.
    Float8 {
        block: Option<[usize; 2]>,
    },
}

impl Statement {
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn of(dir: &Path, config: &Value) -> Result<Option<Statement>> {
        let method = |object: &Value| object["quant_method"].as_str().map(str::to_owned);
        if let Some(key) = KEYS.iter().find(|key| config[**key].is_object()) {
            let object = config[*key].clone();
            let method = method(&object);
            let text = match &method {
                Some(method) => format!("`{key}.quant_method` in config.json is `{method}`"),
                None => format!("config.json has a `{key}` without `quant_method`"),
            };
            return Ok(Some(Statement { text, method: method.unwrap_or_default(), object }));
        }
        for (name, usual) in FILES {
            if let Some(object) = read_json(&dir.join(name))? {
                let stated = method(&object);
                let text = match &stated {
                    Some(method) => format!("`quant_method` in {name} is `{method}`"),
                    None => format!("{name} is beside them"),
                };
                return Ok(Some(Statement { text, method: stated.unwrap_or(usual.to_owned()), object }));
            }
        }
        Ok(None)
    }

    /// The format that it states; `Ok(None)` where that is none that can be read.
    ///
    /// # Errors
    /// Olive's format, with settings that cannot be; or why this variant of another one cannot be read.
    pub(crate) fn format(&self, dir: &Path, config: &Value) -> Result<Option<StoredFormat>> {
        let format = match self.method.as_str() {
            QuantisationSettings::METHOD => {
                return Ok(QuantisationSettings::of(dir, config)?.map(StoredFormat::Olive));
            }
            "gptq" => self.gptq(),
            "awq" => self.awq(),
            "bitsandbytes" => Ok(StoredFormat::Bitsandbytes),
            "fp8" | "fbgemm_fp8" | "compressed-tensors" => self.float8(),
            _ => return Ok(None),
        };
        Ok(format.map(Some).map_err(|reason| self.refuse(dir, reason))?)
    }

    /// The weights cannot be read, for this reason.
    pub(crate) fn refuse(&self, dir: &Path, reason: String) -> ModelError {
        ModelError::PreQuantised { path: dir.to_owned(), statement: self.text.clone(), reason }
    }

    fn gptq(&self) -> Result<StoredFormat, String> {
        let settings = self.settings(&["bits"], &["group_size"])?;
        if !matches!(&self.object["pack_dtype"], Value::Null) && self.object["pack_dtype"] != "int32" {
            return Err(format!("`pack_dtype` is {}, where int32 is read", self.object["pack_dtype"]));
        }
        let format = match self.word(&["checkpoint_format", "format"]) {
            _ if self.object["is_marlin_format"] == true => "marlin".to_owned(),
            format => format.unwrap_or_else(|| "gptq".into()),
        };
        let less = match format.as_str() {
            "gptq" => 1,
            "gptq_v2" => 0,
            other => {
                return Err(format!("`checkpoint_format` is `{other}`, where gptq and gptq_v2 are read"));
            }
        };
        let symmetric = self.object["sym"].as_bool().unwrap_or(true);
        let varied = self.object["dynamic"].as_object().is_some_and(|rules| !rules.is_empty());
        Ok(StoredFormat::Gptq { settings: ModuleSettings { symmetric, ..settings }, less, varied })
    }

    fn awq(&self) -> Result<StoredFormat, String> {
        let settings = self.settings(&["bits", "w_bit"], &["group_size", "q_group_size"])?;
        if settings.bits != 4 {
            return Err(format!("`bits` is {}, and AWQ is read with 4", settings.bits));
        }
        let version = self.word(&["version", "checkpoint_format", "format"]);
        if let Some(other) = version.filter(|version| version != "gemm") {
            return Err(format!("`version` is `{other}`, where gemm is read"));
        }
        if self.object["zero_point"] == false {
            return Err("`zero_point` is false, and AWQ is read with zero points".into());
        }
        Ok(StoredFormat::Awq(settings))
    }

    fn float8(&self) -> Result<StoredFormat, String> {
        let groups = self.object["config_groups"].as_object();
        let structures = groups.into_iter().flat_map(|groups| groups.values());
        let structures = structures.map(|group| &group["weights"]["block_structure"]);
        let stated = std::iter::once(&self.object["weight_block_size"]).chain(structures);
        let Some(stated) = stated.into_iter().find(|block| !block.is_null()) else {
            return Ok(StoredFormat::Float8 { block: None });
        };
        let size = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        match stated.as_array().map(|sides| sides.iter().map(size).collect::<Vec<_>>()).as_deref() {
            Some(&[Some(rows), Some(cols)]) => Ok(StoredFormat::Float8 { block: Some([rows, cols]) }),
            _ => Err(format!("`weight_block_size` is {stated}, where two sizes are needed")),
        }
    }

    /// Bits and group, under any of these names; not symmetric.
    fn settings(&self, bits: &[&str], group: &[&str]) -> Result<ModuleSettings, String> {
        let number = |names: &[&str]| names.iter().find_map(|name| self.object[*name].as_i64());
        let bits = number(bits).ok_or_else(|| format!("`{}` is no number", bits[0]))?;
        let bits = u8::try_from(bits)
            .ok()
            .filter(|bits| [2, 4, 8].contains(bits))
            .ok_or_else(|| format!("`bits` is {bits}, which is none of 2, 4 and 8"))?;
        let group = match number(group) {
            Some(-1) => None,
            Some(size) if size > 0 => Some(usize::try_from(size).map_err(|e| e.to_string())?),
            _ => return Err(format!("`{}` is neither -1 nor a size", group[0])),
        };
        Ok(ModuleSettings { bits, symmetric: false, group })
    }

    /// A word under any of these names, in small letters.
    fn word(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.object[*name].as_str()).map(str::to_lowercase)
    }
}
