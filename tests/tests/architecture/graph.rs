//! Which file of a crate uses which other: every path in the code, followed through imports and re-exports to the file that defines
//! what it names. A re-export alone is no use: `mod.rs` may show what its files define. Tests are left out.

#![expect(
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test stops at what it cannot read; syn's enums have more variants than matter, and may get others"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};

/// A path of modules, from the crate's root.
type Module = Vec<String>;

/// The files of a crate, and what each uses.
pub(crate) struct Graph {
    /// By the file's path below the crate's source folder.
    pub(crate) uses: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

/// The modules of a crate.
struct Scopes(BTreeMap<Module, Scope>);

/// One module: a file, or a `mod` in one.
#[derive(Default)]
struct Scope {
    file: PathBuf,
    children: BTreeSet<String>,
    defined: BTreeSet<String>,
    /// The names that imports give, and what they stand for.
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Every path that the code names.
    paths: BTreeSet<Vec<String>>,
}

impl Graph {
    /// Reads the crate whose root is `source/lib.rs`.
    pub(crate) fn read(source: &Path) -> Self {
        let mut scopes = BTreeMap::new();
        read(source, Path::new("lib.rs"), Vec::new(), &mut scopes);
        let mut uses: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        let scopes = Scopes(scopes);
        for (module, scope) in &scopes.0 {
            let of_file = uses.entry(scope.file.clone()).or_default();
            for path in &scope.paths {
                let target = scopes.resolve(module, path, 0);
                of_file.extend(target.filter(|target| *target != scope.file));
            }
        }
        Self { uses }
    }

    /// The circles: sets of files each of which uses every other one, directly or through others of them.
    pub(crate) fn circles(&self) -> Vec<Vec<&Path>> {
        let reach: BTreeMap<&Path, BTreeSet<&Path>> = self
            .uses
            .keys()
            .map(|file| (file.as_path(), self.reachable(file)))
            .collect();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for (file, others) in &reach {
            let is_mutual =
                |other: &&&Path| reach.get(**other).is_some_and(|back| back.contains(file));
            let circle: Vec<&Path> = others.iter().filter(is_mutual).copied().collect();
            if circle.len() > 1 && seen.insert(circle.clone()) {
                circles.push(circle);
            }
        }
        circles
    }

    fn reachable<'a>(&'a self, from: &'a Path) -> BTreeSet<&'a Path> {
        let mut found = BTreeSet::new();
        let mut left = vec![from];
        while let Some(file) = left.pop() {
            let next = self.uses.get(file).into_iter().flatten();
            left.extend(
                next.map(PathBuf::as_path)
                    .filter(|next| found.insert(*next)),
            );
        }
        found
    }
}

fn read(source: &Path, file: &Path, module: Module, scopes: &mut BTreeMap<Module, Scope>) {
    let text = std::fs::read_to_string(source.join(file))
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed =
        syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    items(source, file, &module, &parsed.items, scopes);
}

fn items(
    source: &Path,
    file: &Path,
    module: &Module,
    items: &[Item],
    scopes: &mut BTreeMap<Module, Scope>,
) {
    let mut reader = Reader {
        scope: Scope {
            file: file.to_path_buf(),
            ..Scope::default()
        },
        children: Vec::new(),
    };
    for item in items {
        reader.item(item);
    }
    let Reader { scope, children } = reader;
    scopes.insert(module.clone(), scope);
    for child in children {
        let mut path = module.clone();
        path.push(child.ident.to_string());
        match &child.content {
            Some((_, inner)) => self::items(source, file, &path, inner, scopes),
            None => read(
                source,
                &file_of(source, file, &child.ident.to_string()),
                path,
                scopes,
            ),
        }
    }
}

/// The file of the module `name` that `file` declares.
fn file_of(source: &Path, file: &Path, name: &str) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default();
    let is_folder = ["mod", "lib", "main"].iter().any(|root| stem == *root);
    let folder = if is_folder {
        file.parent().unwrap_or(file).to_path_buf()
    } else {
        file.with_extension("")
    };
    let alone = folder.join(format!("{name}.rs"));
    if source.join(&alone).exists() {
        alone
    } else {
        folder.join(name).join("mod.rs")
    }
}

struct Reader {
    scope: Scope,
    children: Vec<ItemMod>,
}

impl Reader {
    fn item(&mut self, item: &Item) {
        if is_test(attributes(item)) {
            return;
        }
        match item {
            Item::Mod(child) => {
                self.scope.children.insert(child.ident.to_string());
                self.children.push(child.clone());
            }
            Item::Use(import) => self.import(import),
            _ => {
                self.scope.defined.extend(name(item));
                self.visit_item(item);
            }
        }
    }

    fn import(&mut self, import: &ItemUse) {
        let is_private = matches!(import.vis, syn::Visibility::Inherited);
        let mut leaves = Vec::new();
        flatten(&import.tree, Vec::new(), &mut leaves);
        for (name, path) in leaves {
            if is_private {
                self.scope.paths.insert(path.clone());
            }
            match name.as_str() {
                "*" => self.scope.globs.push(path),
                _ => drop(self.scope.imports.insert(name, path)),
            }
        }
    }

    /// The paths in what is given to a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(word) if colons == 2 || path.is_empty() => {
                    path.push(word.to_string())
                }
                TokenTree::Ident(word) => {
                    self.path(std::mem::take(&mut path));
                    path.push(word.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.path(std::mem::take(&mut path));
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.path(std::mem::take(&mut path)),
            }
            colons = 0;
        }
        self.path(path);
    }

    fn path(&mut self, path: Vec<String>) {
        if !path.is_empty() {
            self.scope.paths.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(
            path.segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect(),
        );
        visit::visit_path(self, path);
    }

    /// Where an item may be seen is no use of that module.
    fn visit_visibility(&mut self, _visibility: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        self.import(import);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Fn(function) => &function.attrs,
            syn::ImplItem::Const(constant) => &constant.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }
}

impl Scopes {
    /// The file that defines what `path` names, as seen from `module`; none for what another crate defines.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<PathBuf> {
        let (first, rest) = path.split_first()?;
        if depth > 32 {
            return None;
        }
        match first.as_str() {
            "crate" => self.resolve_in(&[], rest, depth),
            "self" => self.resolve_in(module, rest, depth),
            "super" => {
                let (_own, parent) = module.split_last()?;
                match rest.first().map(String::as_str) {
                    Some("super") => self.resolve(parent, rest, depth + 1),
                    _ => self.resolve_in(parent, rest, depth),
                }
            }
            _ => self.resolve_in(module, path, depth),
        }
    }

    /// The same of what stands in `module`.
    fn resolve_in(&self, module: &[String], path: &[String], depth: usize) -> Option<PathBuf> {
        let scope = self.0.get(module)?;
        let Some((first, rest)) = path.split_first() else {
            return Some(scope.file.clone());
        };
        if scope.defined.contains(first) {
            return Some(scope.file.clone());
        }
        if scope.children.contains(first) {
            let child = [module, std::slice::from_ref(first)].concat();
            return self.resolve_in(&child, rest, depth);
        }
        let through = |start: &[String], rest: &[String]| {
            let full = [start, rest].concat();
            self.resolve(module, &full, depth + 1)
        };
        match scope.imports.get(first) {
            Some(import) => through(import, rest),
            None => scope.globs.iter().find_map(|glob| through(glob, path)),
        }
    }
}

/// The names that a `use` gives, and the paths that they stand for; `*` for a glob.
fn flatten(tree: &UseTree, mut path: Vec<String>, leaves: &mut Vec<(String, Vec<String>)>) {
    match tree {
        UseTree::Path(step) => {
            path.push(step.ident.to_string());
            flatten(&step.tree, path, leaves);
        }
        UseTree::Name(name) if name.ident == "self" => {
            let last = path.last().cloned().unwrap_or_default();
            leaves.push((last, path));
        }
        UseTree::Name(name) => {
            path.push(name.ident.to_string());
            leaves.push((name.ident.to_string(), path));
        }
        UseTree::Rename(renamed) => {
            path.push(renamed.ident.to_string());
            leaves.push((renamed.rename.to_string(), path));
        }
        UseTree::Glob(_) => leaves.push(("*".to_owned(), path)),
        UseTree::Group(group) => {
            for item in &group.items {
                flatten(item, path.clone(), leaves);
            }
        }
    }
}

/// Whether it is compiled for tests alone.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return attribute.path().is_ident("test");
        };
        let words = list.tokens.to_string().replace(' ', "");
        list.path.is_ident("cfg")
            && ["test", "any(test"]
                .iter()
                .any(|start| words.starts_with(start))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// What an item is called; an `impl` has no name.
fn name(item: &Item) -> Option<String> {
    let name = match item {
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
    Some(name.to_string())
}
