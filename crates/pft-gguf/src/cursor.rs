//! A reader over bytes that never reads past their end.

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem { offset: self.at, message: message.into() }
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let slice = self.bytes[self.at..].get(..count).ok_or_else(|| {
            self.problem(format!("{count} bytes expected, but only {} are left", self.remaining()))
        })?;
        self.at += count;
        Ok(slice)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Problem> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things that take at least `size` bytes each in the file. A count that the rest
    /// of the file cannot hold is refused here, before anybody allocates for it.
    pub(crate) fn count(&mut self, size: usize, what: &str) -> Result<usize, Problem> {
        let at = self.at;
        let count = self.u64()?;
        let fits = (self.remaining() / size) as u64;
        if count > fits {
            return Err(Problem {
                offset: at,
                message: format!("{count} {what} announced, but the file has room for {fits}"),
            });
        }
        Ok(count as usize)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, Problem> {
        let at = self.at;
        let length = self.count(1, "bytes of text")?;
        std::str::from_utf8(self.take(length)?)
            .map_err(|_| Problem { offset: at, message: "text is not UTF-8".to_owned() })
    }
}
