//! What a pickle holds.

use std::ops::Range;

/// Index of a value in its pickle.
pub(super) type Id = u32;

/// One value; parts are other values' indexes, so shared and circular ones cost nothing.
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number beyond 64 bits, as little-endian two's complement.
    LongInt(Range<usize>),
    Float(f64),
    Bytes(Range<usize>),
    Str(Range<usize>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A function or class: its module and its name.
    Global(Range<usize>, Range<usize>),
    Object(Box<Object>),
    /// Something stored elsewhere, by its key.
    Persistent(Id),
}

/// What a call would have made.
pub(super) struct Object {
    pub(super) callable: Id,
    pub(super) arguments: Id,
    pub(super) state: Option<Id>,
    /// What was appended to it.
    pub(super) list: Vec<Id>,
    /// What was set in it by key.
    pub(super) items: Vec<(Id, Id)>,
}

/// A pickle that has been read.
pub(crate) struct Pickle<'d> {
    pub(super) data: &'d [u8],
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
    /// Where it ends in its data.
    pub(crate) end: usize,
}

impl<'d> Pickle<'d> {
    /// The whole.
    pub(crate) fn root(&self) -> Value<'_, 'd> {
        Value { pickle: self, id: self.root }
    }

    /// Every value that names something stored elsewhere.
    pub(crate) fn persistent(&self) -> impl Iterator<Item = Value<'_, 'd>> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Persistent(key) => Some(Value { pickle: self, id: *key }),
            _ => None,
        })
    }
}

/// A view of one value. Every accessor answers nothing where the value is of another kind.
#[derive(Clone, Copy)]
pub(crate) struct Value<'p, 'd> {
    pickle: &'p Pickle<'d>,
    id: Id,
}

impl<'p, 'd> Value<'p, 'd> {
    fn node(self) -> &'p Node {
        &self.pickle.nodes[self.id as usize]
    }

    fn with(self, id: Id) -> Self {
        Self { id, ..self }
    }

    pub(crate) fn is_none(self) -> bool {
        matches!(self.node(), Node::None)
    }

    pub(crate) fn as_bool(self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(*value),
            Node::Int(value) => Some(*value != 0),
            _ => None,
        }
    }

    pub(crate) fn as_int(self) -> Option<i64> {
        match self.node() {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn as_usize(self) -> Option<usize> {
        usize::try_from(self.as_int()?).ok()
    }

    pub(crate) fn as_str(self) -> Option<&'d str> {
        match self.node() {
            Node::Str(range) => std::str::from_utf8(&self.pickle.data[range.clone()]).ok(),
            _ => None,
        }
    }

    /// Bytes, or the bytes of a number beyond 64 bits.
    pub(crate) fn as_bytes(self) -> Option<&'d [u8]> {
        match self.node() {
            Node::Bytes(range) | Node::LongInt(range) => Some(&self.pickle.data[range.clone()]),
            _ => None,
        }
    }

    /// A string, or bytes that are UTF-8.
    pub(crate) fn as_text(self) -> Option<&'d str> {
        self.as_str().or_else(|| std::str::from_utf8(self.as_bytes()?).ok())
    }

    /// The elements of a tuple, list or set, or what was appended to an object.
    pub(crate) fn elements(self) -> Option<impl ExactSizeIterator<Item = Self>> {
        let ids = match self.node() {
            Node::Tuple(ids) | Node::List(ids) | Node::Set(ids) => ids,
            Node::Object(object) => &object.list,
            _ => return None,
        };
        Some(ids.iter().map(move |&id| self.with(id)))
    }

    /// An element of a tuple or list.
    pub(crate) fn element(self, index: usize) -> Option<Self> {
        self.elements()?.nth(index)
    }

    /// Keys and values of a dictionary, or of an object that is one.
    pub(crate) fn entries(self) -> Option<impl ExactSizeIterator<Item = (Self, Self)>> {
        let entries = match self.node() {
            Node::Dict(entries) => entries,
            Node::Object(object) => &object.items,
            _ => return None,
        };
        Some(entries.iter().map(move |&(key, value)| (self.with(key), self.with(value))))
    }

    /// The value of a key; for an object without it, of the attribute of that name.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        let found = |entries: &[(Id, Id)]| {
            let same = |id: Id| self.with(id).as_str() == Some(key);
            entries.iter().rev().find(|(name, _)| same(*name)).map(|&(_, value)| self.with(value))
        };
        let object = match self.node() {
            Node::Dict(entries) => return found(entries),
            Node::Object(object) => object,
            _ => return None,
        };
        if let Some(value) = found(&object.items) {
            return Some(value);
        }
        let in_state = |id: Id| match &self.pickle.nodes[id as usize] {
            Node::Dict(entries) => found(entries),
            _ => None,
        };
        // A class with slots has a pair of dictionaries for its state.
        match &self.pickle.nodes[object.state? as usize] {
            Node::Dict(entries) => found(entries),
            Node::Tuple(parts) => parts.iter().find_map(|&part| in_state(part)),
            _ => None,
        }
    }

    /// The state of an object.
    pub(crate) fn state(self) -> Option<Self> {
        match self.node() {
            Node::Object(object) => object.state.map(|id| self.with(id)),
            _ => None,
        }
    }

    /// What a call names, and its arguments.
    pub(crate) fn call(self) -> Option<(&'d str, &'d str, Self)> {
        match self.node() {
            Node::Object(object) => {
                let (module, name) = self.with(object.callable).global()?;
                Some((module, name, self.with(object.arguments)))
            }
            _ => None,
        }
    }

    /// The module and name of a function or class. Old files of PyTorch keep classes elsewhere,
    /// under the key `("module", class, …)`.
    pub(crate) fn global(self) -> Option<(&'d str, &'d str)> {
        let text =
            |range: &Range<usize>| std::str::from_utf8(&self.pickle.data[range.clone()]).ok();
        let stored = self.persistent_key().and_then(|key| key.element(1));
        match stored.unwrap_or(self).node() {
            Node::Global(module, name) => Some((text(module)?, text(name)?)),
            _ => None,
        }
    }

    /// The key of something stored elsewhere.
    pub(crate) fn persistent_key(self) -> Option<Self> {
        match self.node() {
            Node::Persistent(key) => Some(self.with(*key)),
            _ => None,
        }
    }

    /// The value as JSON, as far as JSON has its kind; the rest is null. At most `budget` values and
    /// 32 levels, because parts may be shared or circular.
    pub(crate) fn to_json(self, budget: &mut usize) -> serde_json::Value {
        self.to_json_within(budget, 32)
    }

    fn to_json_within(self, budget: &mut usize, depth: usize) -> serde_json::Value {
        use serde_json::Value as Json;
        if *budget == 0 || depth == 0 {
            return Json::Null;
        }
        *budget -= 1;
        match self.node() {
            Node::Bool(value) => Json::Bool(*value),
            Node::Int(value) => Json::from(*value),
            Node::Float(value) => Json::from(*value),
            Node::Str(_) => self.as_str().map_or(Json::Null, Json::from),
            Node::Tuple(parts) | Node::List(parts) => {
                parts.iter().map(|&id| self.with(id).to_json_within(budget, depth - 1)).collect()
            }
            Node::Dict(entries) => {
                let pairs = entries.iter().filter_map(|&(key, value)| {
                    let key = self.with(key);
                    let name = match key.as_int() {
                        Some(number) => number.to_string(),
                        None => key.as_str()?.to_string(),
                    };
                    Some((name, self.with(value).to_json_within(budget, depth - 1)))
                });
                Json::Object(pairs.collect())
            }
            _ => Json::Null,
        }
    }
}
