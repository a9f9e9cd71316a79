//! The stack machine.

use std::collections::HashMap;
use std::ops::Range;

use super::PickleError;
use super::value::{Id, Node, Object, Pickle};

/// Most values of one pickle: a vocabulary of two million words with its counts has fewer.
const MAX_NODES: usize = 1 << 24;

const NONE: Id = 0;
const TRUE: Id = 1;
const FALSE: Id = 2;
const EMPTY_TUPLE: Id = 3;

/// Reads the pickle at the start of `data`.
///
/// # Errors
/// When an instruction is not known, lacks its operands, or reaches beyond the data; or when there
/// are too many values.
pub(crate) fn parse(data: &[u8]) -> Result<Pickle<'_>, PickleError> {
    let nodes = vec![Node::None, Node::Bool(true), Node::Bool(false), Node::Tuple(Vec::new())];
    let mut machine = Machine {
        data,
        at: 0,
        nodes,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        memoized: 0,
    };
    let root = loop {
        if let Some(root) = machine.step()? {
            break root;
        }
    };
    Ok(Pickle { data, nodes: machine.nodes, root, end: machine.at })
}

struct Machine<'d> {
    data: &'d [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// How many values MEMOIZE has numbered.
    memoized: u32,
}

impl Machine<'_> {
    fn error<T>(&self, what: &'static str) -> Result<T, PickleError> {
        Err(PickleError { at: self.at, what })
    }

    fn take(&mut self, count: u64) -> Result<Range<usize>, PickleError> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        match end.filter(|&end| end <= self.data.len()) {
            Some(end) => {
                let range = self.at..end;
                self.at = end;
                Ok(range)
            }
            None => self.error("it ends too early"),
        }
    }

    /// An unsigned little-endian number of `N` bytes.
    fn number<const N: usize>(&mut self) -> Result<u64, PickleError> {
        let range = self.take(N as u64)?;
        Ok(self.data[range].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn sized<const N: usize>(&mut self) -> Result<Range<usize>, PickleError> {
        let size = self.number::<N>()?;
        self.take(size)
    }

    fn line(&mut self) -> Result<Range<usize>, PickleError> {
        let start = self.at;
        match self.data[start..].iter().position(|&byte| byte == b'\n') {
            Some(length) => {
                self.at = start + length + 1;
                Ok(start..start + length)
            }
            None => self.error("a line does not end"),
        }
    }

    fn make(&mut self, node: Node) -> Result<Id, PickleError> {
        if self.nodes.len() >= MAX_NODES {
            return self.error("it holds too many values");
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    fn push(&mut self, node: Node) -> Result<(), PickleError> {
        let id = self.make(node)?;
        self.stack.push(id);
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        if self.stack.len() <= self.floor() {
            return self.error("an instruction lacks its operand");
        }
        self.stack.pop().map_or_else(|| self.error("an instruction lacks its operand"), Ok)
    }

    fn top(&self) -> Result<Id, PickleError> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => self.error("an instruction lacks its operand"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self.error("an instruction lacks its mark"),
        }
    }

    fn pop_pairs(&mut self) -> Result<Vec<(Id, Id)>, PickleError> {
        let flat = self.pop_to_mark()?;
        let (pairs, rest) = flat.as_chunks::<2>();
        if !rest.is_empty() {
            return self.error("a key lacks its value");
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn tuple(&mut self, size: usize) -> Result<(), PickleError> {
        let mut parts = (0..size).map(|_| self.pop()).collect::<Result<Vec<Id>, _>>()?;
        parts.reverse();
        self.push(Node::Tuple(parts))
    }

    fn append(&mut self, added: &[Id]) -> Result<(), PickleError> {
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::List(list) | Node::Set(list) => list.extend(added),
            Node::Object(object) => object.list.extend(added),
            _ => return self.error("something is appended to what is no list"),
        }
        Ok(())
    }

    fn set(&mut self, added: &[(Id, Id)]) -> Result<(), PickleError> {
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::Dict(entries) => entries.extend(added),
            Node::Object(object) => object.items.extend(added),
            _ => return self.error("a key is set in what is no dictionary"),
        }
        Ok(())
    }

    fn call(&mut self, callable: Id, arguments: Id) -> Result<(), PickleError> {
        let (list, items) = (Vec::new(), Vec::new());
        let object = Object { callable, arguments, state: None, list, items };
        self.push(Node::Object(Box::new(object)))
    }

    fn remember(&mut self, index: u64) -> Result<(), PickleError> {
        let id = self.top()?;
        self.memo.insert(index as u32, id);
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<(), PickleError> {
        match self.memo.get(&(index as u32)) {
            Some(&id) => {
                self.stack.push(id);
                Ok(())
            }
            None => self.error("it refers to a value that it does not have"),
        }
    }

    fn text(&self, id: Id) -> Result<Range<usize>, PickleError> {
        match &self.nodes[id as usize] {
            Node::Str(range) => Ok(range.clone()),
            _ => self.error("a name is no string"),
        }
    }

    fn long(&mut self, range: Range<usize>) -> Result<(), PickleError> {
        let bytes = &self.data[range.clone()];
        if bytes.len() > 8 {
            return self.push(Node::LongInt(range));
        }
        let fill = if bytes.last().is_some_and(|&byte| byte >= 128) { 255 } else { 0 };
        let mut whole = [fill; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(whole)))
    }

    /// Runs one instruction; the last one returns the pickle's value.
    fn step(&mut self) -> Result<Option<Id>, PickleError> {
        let instruction = self.number::<1>()? as u8;
        match instruction {
            // PROTO, FRAME, MARK, STOP, POP, POP_MARK, DUP
            0x80 if self.number::<1>()? > 5 => return self.error("its protocol is not known"),
            0x80 => {}
            0x95 if self.number::<8>()? > (self.data.len() - self.at) as u64 => {
                return self.error("it ends too early");
            }
            0x95 => {}
            b'(' => self.marks.push(self.stack.len()),
            b'.' => return self.pop().map(Some),
            b'0' if self.stack.len() == self.floor() => {
                self.pop_to_mark()?;
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let id = self.top()?;
                self.stack.push(id);
            }
            // NONE, NEWTRUE, NEWFALSE, EMPTY_TUPLE
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b')' => self.stack.push(EMPTY_TUPLE),
            // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
            b'J' => {
                let number = self.number::<4>()? as u32;
                self.push(Node::Int(i64::from(number.cast_signed())))?;
            }
            b'K' => {
                let number = self.number::<1>()?;
                self.push(Node::Int(number as i64))?;
            }
            b'M' => {
                let number = self.number::<2>()?;
                self.push(Node::Int(number as i64))?;
            }
            0x8a => {
                let range = self.sized::<1>()?;
                self.long(range)?;
            }
            0x8b => {
                let range = self.sized::<4>()?;
                self.long(range)?;
            }
            b'G' => {
                let bits = self.number::<8>()?.swap_bytes();
                self.push(Node::Float(f64::from_bits(bits)))?;
            }
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
            b'X' | 0x8c | 0x8d => {
                let range = match instruction {
                    b'X' => self.sized::<4>()?,
                    0x8c => self.sized::<1>()?,
                    _ => self.sized::<8>()?,
                };
                self.push(Node::Str(range))?;
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8, SHORT_BINSTRING, BINSTRING
            b'C' | b'B' | 0x8e | 0x96 | b'U' | b'T' => {
                let range = match instruction {
                    b'C' | b'U' => self.sized::<1>()?,
                    b'B' | b'T' => self.sized::<4>()?,
                    _ => self.sized::<8>()?,
                };
                self.push(Node::Bytes(range))?;
            }
            // EMPTY_LIST, APPEND, APPENDS, LIST, EMPTY_SET, ADDITEMS, FROZENSET
            b']' => self.push(Node::List(Vec::new()))?,
            0x8f => self.push(Node::Set(Vec::new()))?,
            b'a' => {
                let id = self.pop()?;
                self.append(&[id])?;
            }
            b'e' | 0x90 => {
                let added = self.pop_to_mark()?;
                self.append(&added)?;
            }
            b'l' => {
                let parts = self.pop_to_mark()?;
                self.push(Node::List(parts))?;
            }
            0x91 => {
                let parts = self.pop_to_mark()?;
                self.push(Node::Set(parts))?;
            }
            // TUPLE, TUPLE1, TUPLE2, TUPLE3
            b't' => {
                let parts = self.pop_to_mark()?;
                self.push(Node::Tuple(parts))?;
            }
            0x85..=0x87 => self.tuple(usize::from(instruction - 0x84))?,
            // EMPTY_DICT, SETITEM, SETITEMS, DICT
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[(key, value)])?;
            }
            b'u' => {
                let pairs = self.pop_pairs()?;
                self.set(&pairs)?;
            }
            b'd' => {
                let pairs = self.pop_pairs()?;
                self.push(Node::Dict(pairs))?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => {
                let index = self.number::<1>()?;
                self.remember(index)?;
            }
            b'r' => {
                let index = self.number::<4>()?;
                self.remember(index)?;
            }
            0x94 => {
                self.remember(u64::from(self.memoized))?;
                self.memoized += 1;
            }
            b'h' => {
                let index = self.number::<1>()?;
                self.recall(index)?;
            }
            b'j' => {
                let index = self.number::<4>()?;
                self.recall(index)?;
            }
            // GLOBAL, STACK_GLOBAL, REDUCE, NEWOBJ, NEWOBJ_EX, BUILD, BINPERSID
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(module, name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.text(module)?, self.text(name)?);
                self.push(Node::Global(module, name))?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            0x92 => {
                let (_keywords, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            b'b' => {
                let (state, target) = (self.pop()?, self.top()?);
                match &mut self.nodes[target as usize] {
                    Node::Object(object) => object.state = Some(state),
                    _ => return self.error("a state is given to what is no object"),
                }
            }
            b'Q' => {
                let key = self.pop()?;
                self.push(Node::Persistent(key))?;
            }
            _ => return self.error("its instruction is not known"),
        }
        Ok(None)
    }
}
