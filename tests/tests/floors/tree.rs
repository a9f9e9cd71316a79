//! The modules of a crate as the compiler finds them: files by `mod` items, names by `use` items.
//! What is compiled for tests alone is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, Meta, UseTree};

/// A module, in a file of its own or inside one.
pub(crate) struct Module {
    /// Which of [`Tree::files`] it stands in.
    pub(crate) file: usize,
    pub(crate) parent: Option<usize>,
    pub(crate) children: BTreeMap<String, usize>,
    /// Names of what is defined here.
    pub(crate) defined: Vec<String>,
    /// Names that `use` brings in, with their paths as written there.
    pub(crate) imported: BTreeMap<String, Vec<String>>,
    /// Paths of `use …::*`.
    pub(crate) globs: Vec<Vec<String>>,
    pub(crate) items: Vec<Item>,
}

/// A crate.
pub(crate) struct Tree {
    /// Files below `src`.
    pub(crate) files: Vec<PathBuf>,
    /// The root comes first.
    pub(crate) modules: Vec<Module>,
}

impl Tree {
    /// Reads the library in a folder `src`, or the binary of a crate without one.
    pub(crate) fn read(src: &Path) -> Self {
        let mut tree = Self { files: Vec::new(), modules: Vec::new() };
        let root = ["lib.rs", "main.rs"].into_iter().find(|name| src.join(name).is_file());
        tree.read_file(
            src,
            Path::new(root.expect("src/lib.rs or src/main.rs")),
            Path::new(""),
            None,
        );
        tree
    }

    /// Reads a file whose modules' files lie in `folder`.
    fn read_file(
        &mut self,
        src: &Path,
        file: &Path,
        folder: &Path,
        parent: Option<usize>,
    ) -> usize {
        let text = std::fs::read_to_string(src.join(file)).expect("a module's file");
        let parsed = syn::parse_file(&text);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.files.push(file.to_path_buf());
        self.add(src, self.files.len() - 1, folder, parent, parsed.items)
    }

    fn add(
        &mut self,
        src: &Path,
        file: usize,
        folder: &Path,
        parent: Option<usize>,
        items: Vec<Item>,
    ) -> usize {
        let index = self.modules.len();
        self.modules.push(Module {
            file,
            parent,
            children: BTreeMap::new(),
            defined: Vec::new(),
            imported: BTreeMap::new(),
            globs: Vec::new(),
            items: Vec::new(),
        });
        for item in items.into_iter().filter(|item| !only_for_tests(attributes(item))) {
            match item {
                Item::Mod(module) => {
                    let name = module.ident.to_string();
                    let below = folder.join(&name);
                    let child = match module.content {
                        Some((_, items)) => self.add(src, file, &below, Some(index), items),
                        None => {
                            let beside = folder.join(format!("{name}.rs"));
                            let inside = below.join("mod.rs");
                            let path = if src.join(&beside).is_file() { beside } else { inside };
                            self.read_file(src, &path, &below, Some(index))
                        }
                    };
                    self.modules[index].children.insert(name, child);
                }
                item => {
                    let module = &mut self.modules[index];
                    if let Item::Use(item) = &item {
                        import(&item.tree, &mut Vec::new(), &mut |path, name| match name {
                            Some(name) => drop(module.imported.insert(name, path)),
                            None => module.globs.push(path),
                        });
                    }
                    module.defined.extend(name(&item));
                    module.items.push(item);
                }
            }
        }
        index
    }
}

/// Calls `take` for every path that a `use` names, with the name it gets; without one for `*`.
pub(crate) fn import(
    tree: &UseTree,
    before: &mut Vec<String>,
    take: &mut impl FnMut(Vec<String>, Option<String>),
) {
    let with = |last: &syn::Ident| {
        let mut path = before.clone();
        // `a::{self}` names `a`.
        if last != "self" || path.is_empty() {
            path.push(last.to_string());
        }
        path
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            import(&path.tree, before, take);
            before.pop();
        }
        UseTree::Name(name) => {
            let path = with(&name.ident);
            let name = path.last().cloned();
            take(path, name);
        }
        UseTree::Rename(rename) => take(with(&rename.ident), Some(rename.rename.to_string())),
        UseTree::Glob(_) => take(before.clone(), None),
        UseTree::Group(group) => group.items.iter().for_each(|tree| import(tree, before, take)),
    }
}

/// The name that an item defines.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether one of the attributes is `#[cfg(test)]`.
pub(crate) fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}
