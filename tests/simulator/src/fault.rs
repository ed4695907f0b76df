//! What can go wrong, and where: every kind of fault, every call of a port, and which of them go together.

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The process is killed in this call. What it asked for may have happened or not.
    Kill,
    /// The power fails in this call: every process ends, and what was not made durable may be gone.
    PowerLoss,
    /// The caller stops waiting.
    Cancel,
    /// The process is stopped for a minute or so, as a phone does with an app in the background.
    Freeze,
    /// The call takes seconds to minutes.
    Delay,
    /// The wall clock is set forward, by minutes to years.
    ClockForward,
    /// The wall clock is set back.
    ClockBack,
    /// Somebody signs out meanwhile.
    SignOut,
    /// Somebody signs in anew meanwhile.
    SignIn,
    /// What the call asks for fails.
    Failure,
    /// Storage is locked for a while, as before the first unlock of a phone.
    Locked,
    /// The disk is full for a while.
    DiskFull,
    /// The request is lost on its way.
    RequestLost,
    /// It is processed, and the answer is lost.
    ResponseLost,
    /// It reaches the server twice.
    Duplicate,
    /// A gateway answers 502 without passing it on.
    GatewayError,
    /// The server fails with 500 after it processed it.
    ServerError,
    /// 429 with `Retry-After`.
    TooMany,
    /// A captive portal answers 200 with a page.
    Page,
    /// The answer is cut in the middle.
    Truncated,
}

/// A call of a port, or of the disk below the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    Metadata,
    Keys,
    Code,
    Refresh,
    Revoke,
    Load,
    Commit,
    Reserve,
    Remove,
    List,
    DiskRead,
    DiskCreate,
    DiskWrite,
    DiskSync,
    DiskRename,
    DiskRemove,
    DiskSyncNames,
    Lock,
    Sleep,
    Random,
    Spawn,
    SpawnBlocking,
    Event,
}

impl Fault {
    pub(crate) const ALL: [Self; 20] = [
        Self::Kill,
        Self::PowerLoss,
        Self::Cancel,
        Self::Freeze,
        Self::Delay,
        Self::ClockForward,
        Self::ClockBack,
        Self::SignOut,
        Self::SignIn,
        Self::Failure,
        Self::Locked,
        Self::DiskFull,
        Self::RequestLost,
        Self::ResponseLost,
        Self::Duplicate,
        Self::GatewayError,
        Self::ServerError,
        Self::TooMany,
        Self::Page,
        Self::Truncated,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerLoss => "power loss",
            Self::Cancel => "cancel",
            Self::Freeze => "freeze",
            Self::Delay => "delay",
            Self::ClockForward => "clock forward",
            Self::ClockBack => "clock back",
            Self::SignOut => "sign-out",
            Self::SignIn => "sign-in",
            Self::Failure => "failure",
            Self::Locked => "locked",
            Self::DiskFull => "disk full",
            Self::RequestLost => "request lost",
            Self::ResponseLost => "response lost",
            Self::Duplicate => "duplicate",
            Self::GatewayError => "gateway error",
            Self::ServerError => "server error",
            Self::TooMany => "too many",
            Self::Page => "page",
            Self::Truncated => "truncated",
        }
    }

    /// Why this fault cannot happen in this call; `None` if it can.
    pub(crate) fn excluded(self, port: Port) -> Option<&'static str> {
        match self {
            Self::Kill
            | Self::PowerLoss
            | Self::Cancel
            | Self::Freeze
            | Self::ClockForward
            | Self::ClockBack
            | Self::SignOut
            | Self::SignIn => None,
            Self::Delay => match port {
                Port::Random | Port::Spawn | Port::SpawnBlocking | Port::Event => {
                    Some("by its contract it does not block")
                }
                _ => None,
            },
            Self::Failure => match port {
                Port::Sleep | Port::Spawn | Port::SpawnBlocking | Port::Event => Some("it cannot fail"),
                _ => None,
            },
            Self::Locked => (!port.is_storage()).then_some("only storage is ever locked"),
            Self::DiskFull => {
                (!matches!(port, Port::DiskCreate | Port::DiskWrite)).then_some("it needs no space")
            }
            Self::RequestLost
            | Self::ResponseLost
            | Self::Duplicate
            | Self::GatewayError
            | Self::ServerError
            | Self::TooMany
            | Self::Page
            | Self::Truncated => (!port.is_http()).then_some("nothing goes over the network"),
        }
    }
}

impl Port {
    pub(crate) const ALL: [Self; 23] = [
        Self::Metadata,
        Self::Keys,
        Self::Code,
        Self::Refresh,
        Self::Revoke,
        Self::Load,
        Self::Commit,
        Self::Reserve,
        Self::Remove,
        Self::List,
        Self::DiskRead,
        Self::DiskCreate,
        Self::DiskWrite,
        Self::DiskSync,
        Self::DiskRename,
        Self::DiskRemove,
        Self::DiskSyncNames,
        Self::Lock,
        Self::Sleep,
        Self::Random,
        Self::Spawn,
        Self::SpawnBlocking,
        Self::Event,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Metadata => "http metadata",
            Self::Keys => "http keys",
            Self::Code => "http code",
            Self::Refresh => "http refresh",
            Self::Revoke => "http revoke",
            Self::Load => "storage load",
            Self::Commit => "storage commit",
            Self::Reserve => "storage reserve",
            Self::Remove => "storage remove",
            Self::List => "storage list",
            Self::DiskRead => "disk read",
            Self::DiskCreate => "disk create",
            Self::DiskWrite => "disk write",
            Self::DiskSync => "disk fsync",
            Self::DiskRename => "disk rename",
            Self::DiskRemove => "disk remove",
            Self::DiskSyncNames => "disk fsync names",
            Self::Lock => "lock",
            Self::Sleep => "clock sleep",
            Self::Random => "random",
            Self::Spawn => "spawn",
            Self::SpawnBlocking => "spawn blocking",
            Self::Event => "event",
        }
    }

    pub(crate) fn is_http(self) -> bool {
        matches!(
            self,
            Self::Metadata | Self::Keys | Self::Code | Self::Refresh | Self::Revoke
        )
    }

    /// How much rather than another port it is chosen for a fault: what few histories call, and much depends on, more often.
    pub(crate) fn weight(self) -> usize {
        match self {
            Self::Keys | Self::Code => 4,
            Self::Metadata => 2,
            Self::Refresh => 6,
            Self::Revoke => 28,
            _ => 1,
        }
    }

    fn is_storage(self) -> bool {
        matches!(
            self,
            Self::Load | Self::Commit | Self::Reserve | Self::Remove | Self::List
        )
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// Every fault with every port where it can happen.
pub(crate) fn cells() -> Vec<(Fault, Port)> {
    let all = Fault::ALL
        .into_iter()
        .flat_map(|fault| Port::ALL.map(|port| (fault, port)));
    all.filter(|(fault, port)| fault.excluded(*port).is_none())
        .collect()
}
