//! Which file leans on which: every path in the code of a module, resolved to the file that defines
//! what it names. A re-export leads to the module that defines its name; where another crate does,
//! to the module that re-exports it.
//!
//! A folder's own file (`mod.rs`, `lib.rs`) holds what the files below it share, and hands work to them:
//! that these name what is defined there makes no circle.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemFn, ItemUse, Macro, Path, Stmt, Visibility};

use super::graph::Edges;
use super::tree::{Tree, attributes, import, only_for_tests};

/// The edges between a crate's files.
pub(crate) fn edges(tree: &Tree) -> Edges {
    let mut edges = BTreeMap::new();
    for (index, module) in tree.modules.iter().enumerate() {
        let mut reader = Reader { tree, module: index, edges: &mut edges };
        for item in &module.items {
            reader.visit_item(item);
        }
    }
    edges
}

struct Reader<'t> {
    tree: &'t Tree,
    module: usize,
    edges: &'t mut Edges,
}

impl Reader<'_> {
    fn take(&mut self, path: &[String], line: usize) {
        let from = self.tree.modules[self.module].file;
        let to = self.tree.file_of(self.module, path, 0);
        if let Some(to) = to.filter(|to| *to != from && !self.tree.is_above(*to, self.module)) {
            self.edges.entry((from, to)).or_insert(line);
        }
    }

    /// Paths inside a macro's tokens.
    fn take_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons, mut line): (Vec<String>, usize, usize) = Default::default();
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    self.take_long(&path, line);
                    path = vec![ident.to_string()];
                    line = ident.span().start().line;
                    colons = 0;
                    continue;
                }
                TokenTree::Group(group) => self.take_tokens(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            self.take_long(&path, line);
            path.clear();
            colons = 0;
        }
        self.take_long(&path, line);
    }

    /// A name alone is that of something local, or of an import that counts already.
    fn take_long(&mut self, path: &[String], line: usize) {
        if path.len() > 1 {
            self.take(path, line);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !only_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !only_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !only_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if let Stmt::Local(local) = statement
            && only_for_tests(&local.attrs)
        {
            return;
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut paths = Vec::new();
        import(&item.tree, &mut Vec::new(), &mut |path, _| paths.push(path));
        for path in paths {
            self.take(&path, item.use_token.span.start().line);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            let names: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
            let line = path.segments.first().map_or(0, |part| part.ident.span().start().line);
            self.take_long(&names, line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.take_tokens(call.tokens.clone());
    }

    /// `pub(in crate::a)` names who may look, and leans on nobody.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

impl Tree {
    /// Whether a file is that of a module around another.
    fn is_above(&self, file: usize, module: usize) -> bool {
        let mut above = self.modules[module].parent;
        while let Some(index) = above {
            if self.modules[index].file == file {
                return true;
            }
            above = self.modules[index].parent;
        }
        false
    }

    /// The file of what a path names in a module; `None` for what other crates define.
    fn file_of(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let this = &self.modules[module];
        match first.as_str() {
            "crate" => self.file_below(0, rest, depth),
            "self" => self.file_below(module, rest, depth),
            "super" => self.file_below(this.parent?, rest, depth),
            "Self" => None,
            _ => self.named(module, path, depth),
        }
    }

    /// As [`Self::file_of`], of a path from a module on; the module's own file where the path names
    /// the module, or something in it that no item shows, as a macro's products.
    fn file_below(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        match path.first().map(String::as_str) {
            None => Some(self.modules[module].file),
            Some("super") => self.file_below(self.modules[module].parent?, &path[1..], depth),
            Some(_) => Some(self.named(module, path, depth).unwrap_or(self.modules[module].file)),
        }
    }

    fn named(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        // Imports that lead round in a ring are no code.
        if depth > 16 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let this = &self.modules[module];
        if let Some(child) = this.children.get(first) {
            return self.file_below(*child, rest, depth);
        }
        if this.defined.contains(first) {
            return Some(this.file);
        }
        if let Some(import) = this.imported.get(first) {
            // `use regex::Regex` is of another crate; `use words::Word` of a child.
            if import.first() == Some(first) && import.len() == 1 {
                return None;
            }
            let whole: Vec<String> = import.iter().chain(rest).cloned().collect();
            return self.file_of(module, &whole, depth + 1);
        }
        let mut globs = this.globs.iter();
        globs.find_map(|glob| {
            let whole: Vec<String> = glob.iter().chain(path).cloned().collect();
            // A glob has a name if a module of ours shows it.
            let target = self.module_of(module, glob)?;
            self.shows(target, path.first()?).then(|| self.file_of(module, &whole, depth + 1))?
        })
    }

    /// The module that a path names.
    fn module_of(&self, module: usize, path: &[String]) -> Option<usize> {
        let mut at = module;
        for (index, name) in path.iter().enumerate() {
            at = match name.as_str() {
                "crate" if index == 0 => 0,
                "self" if index == 0 => module,
                "super" => self.modules[at].parent?,
                name => *self.modules[at].children.get(name)?,
            };
        }
        Some(at)
    }

    fn shows(&self, module: usize, name: &str) -> bool {
        let this = &self.modules[module];
        this.children.contains_key(name)
            || this.defined.iter().any(|defined| defined == name)
            || this.imported.contains_key(name)
    }
}
