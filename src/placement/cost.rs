use std::ops::{Add, Neg, Sub};

/// What a change costs, the most important first; a lesser part counts only where all before it are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// How uneven the topic's own replicas get, as a difference of squares.
    pub own: i64,
    /// How uneven the brokers get.
    pub all: i64,
    pub copy: Copying,
    /// How full the brokers are that take more.
    pub fullness: i64,
}

/// What has to be copied, or what copying is saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Copying {
    pub bytes: i64,
    pub replicas: i64,
}

impl From<Copying> for Cost {
    fn from(copy: Copying) -> Self {
        Self { copy, ..Self::default() }
    }
}

impl Add for Copying {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, replicas: self.replicas + other.replicas }
    }
}

impl Neg for Copying {
    type Output = Self;

    fn neg(self) -> Self {
        Self { bytes: -self.bytes, replicas: -self.replicas }
    }
}

impl Sub for Copying {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            own: self.own + other.own,
            all: self.all + other.all,
            copy: self.copy + other.copy,
            fullness: self.fullness + other.fullness,
        }
    }
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            own: self.own - other.own,
            all: self.all - other.all,
            copy: self.copy - other.copy,
            fullness: self.fullness - other.fullness,
        }
    }
}
