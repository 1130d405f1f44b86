//! The modules of a crate and what they use of one another, read from the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::visit::{self, Visit};

/// Names from the root of the crate: `["gemm", "pack"]`.
type ModulePath = Vec<String>;

/// The modules of one crate that have a file each.
pub struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Default)]
struct Module {
    /// Paths from the root of the crate that stand in its code.
    used: Vec<ModulePath>,
    /// Names that it takes from elsewhere in the crate, and perhaps passes on.
    imported: BTreeMap<String, ModulePath>,
}

impl Crate {
    pub fn read(folder: &Path) -> Crate {
        let mut read = Crate { modules: BTreeMap::new() };
        read.add_folder(folder, &Vec::new());
        read
    }

    pub fn len(&self) -> usize {
        self.modules.len()
    }

    fn add_folder(&mut self, folder: &Path, path: &ModulePath) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let file = entry.expect("an entry").path();
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            let mut inner = path.clone();
            if file.is_dir() {
                inner.push(name);
                self.add_folder(&file, &inner);
            } else if file.extension().is_some_and(|ending| ending == "rs") {
                if !matches!(name.as_str(), "lib" | "main" | "mod") {
                    inner.push(name);
                }
                let text = std::fs::read_to_string(&file).expect("a source file");
                let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
                let mut uses = Uses { here: inner.clone(), module: Module::default() };
                uses.visit_file(&parsed);
                self.modules.insert(inner, uses.module);
            }
        }
    }

    /// The module that a path leads to, through what modules pass on.
    fn resolve(&self, path: &[String], depth: usize) -> Option<ModulePath> {
        let mut here = Vec::new();
        for (index, name) in path.iter().enumerate() {
            let mut inner = here.clone();
            inner.push(name.clone());
            if self.modules.contains_key(&inner) {
                here = inner;
            } else if let Some(target) = self.modules.get(&here)?.imported.get(name)
                && depth < 8
            {
                let rest = target.iter().chain(&path[index + 1..]).cloned().collect::<Vec<_>>();
                return self.resolve(&rest, depth + 1);
            } else {
                break;
            }
        }
        Some(here)
    }

    /// Circles between the modules of one parent, whose own modules count as theirs: `a -> b -> a (examples)`.
    pub fn circles(&self) -> Vec<String> {
        // Parent to (child, child) to an example.
        let mut arrows: BTreeMap<ModulePath, BTreeMap<(String, String), String>> = BTreeMap::new();
        for (from, module) in &self.modules {
            for to in module.used.iter().filter_map(|path| self.resolve(path, 0)) {
                let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                if let (Some(a), Some(b)) = (from.get(common), to.get(common)) {
                    let example = format!("{} uses {}", from.join("::"), to.join("::"));
                    let siblings = arrows.entry(from[..common].to_vec()).or_default();
                    siblings.entry((a.clone(), b.clone())).or_insert(example);
                }
            }
        }
        arrows.values().filter_map(circle).collect()
    }
}

/// The first circle among the arrows, in words.
fn circle(arrows: &BTreeMap<(String, String), String>) -> Option<String> {
    let starts: BTreeSet<&String> = arrows.keys().map(|(from, _)| from).collect();
    let names = starts.into_iter().find_map(|start| path_back(start, arrows))?;
    let steps = names.windows(2).map(|pair| arrows[&(pair[0].clone(), pair[1].clone())].as_str());
    Some(format!("{} ({})", names.join(" -> "), steps.collect::<Vec<_>>().join(", ")))
}

/// The shortest way from `start` back to it.
fn path_back(start: &str, arrows: &BTreeMap<(String, String), String>) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last().expect("a way begins somewhere");
            for (_, to) in arrows.keys().filter(|(from, _)| from == last) {
                let mut way = way.clone();
                way.push(to.clone());
                if to == start {
                    return Some(way);
                }
                if seen.insert(to.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// Collects what one file uses of its crate, tests left out.
struct Uses {
    here: ModulePath,
    module: Module,
}

impl Uses {
    /// From the root of the crate, if it begins with `crate`, `self` or `super`.
    fn absolute(&self, names: &[String]) -> Option<ModulePath> {
        let (mut path, mut rest) = match names.first()?.as_str() {
            "crate" => (Vec::new(), &names[1..]),
            "self" => (self.here.clone(), &names[1..]),
            "super" => (self.here.clone(), names),
            _ => return None,
        };
        while rest.first().is_some_and(|name| name == "super") {
            path.pop();
            rest = &rest[1..];
        }
        path.extend_from_slice(rest);
        Some(path)
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
            syn::UseTree::Glob(_) => self.import(None, before),
            syn::UseTree::Name(name) if name.ident == "self" => {
                self.import(before.last().cloned(), before);
            }
            syn::UseTree::Name(name) => self.import(Some(name.ident.to_string()), &with(&name.ident)),
            syn::UseTree::Rename(rename) => {
                self.import(Some(rename.rename.to_string()), &with(&rename.ident));
            }
        }
    }

    fn import(&mut self, name: Option<String>, names: &[String]) {
        // A path without `crate` or `super` is another crate's, or one of a module declared here.
        let path = self.absolute(names).unwrap_or_else(|| [self.here.as_slice(), names].concat());
        self.module.used.push(path.clone());
        self.module.imported.extend(name.map(|name| (name, path)));
    }
}

/// Whether it is compiled for tests only.
pub fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Mod(module) if is_test(&module.attrs) => {}
            syn::Item::Fn(function) if is_test(&function.attrs) => {}
            item => visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            self.tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // `Self::x` and names in scope are no paths to modules; those that were imported have been counted.
        self.module.used.extend(self.absolute(&names).filter(|_| names[0] != "self"));
        visit::visit_path(self, path);
    }
}
