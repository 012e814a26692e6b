/// `linux.seccomp`: which system calls the container may make (seccomp(2)).
///
/// It has the rules of the whole profile, also those under a condition: which of them apply is decided where the profile is
/// compiled, since only there the kernel is known.
public struct SeccompProfile: Equatable, Sendable {
    /// `defaultAction` with `defaultErrnoRet`: what becomes of a call that no rule matches.
    public var defaultAction: SeccompAction
    /// `architectures`: the ABIs through which calls may come, by the runtime-spec's names ("SCMP_ARCH_X86"). That of the
    /// machine is always one of them.
    public var architectures: [String] = []
    /// `archMap`, which Docker's profiles have in the place of `architectures`; one of the two is empty.
    public var architectureMap: [SeccompArchitectures] = []
    /// `flags`: SECCOMP_FILTER_FLAG_* for seccomp(2).
    public var flags: UInt32 = 0
    /// `syscalls`, in the order of the configuration.
    public var rules: [SeccompRule] = []

    public init(defaultAction: SeccompAction) { self.defaultAction = defaultAction }

    /// The most rules that a profile may have, each name with its arguments counting as one. A filter has at most 4096
    /// instructions (BPF_MAXINSNS), and so no room for more.
    public static let ruleLimit = 4096
}

/// What becomes of a system call.
public enum SeccompAction: Equatable, Sendable {
    /// The thread ends, as if by SIGSYS.
    case killThread
    /// The process ends by SIGSYS.
    case killProcess
    /// The thread gets SIGSYS, which it may handle.
    case trap
    /// The call is not made and fails with this errno, 0–4094.
    case errno(UInt16)
    /// A tracer is told this number (PTRACE_EVENT_SECCOMP); without one the call fails with ENOSYS.
    case trace(UInt16)
    /// The call is made, and noted in the kernel's log.
    case log
    case allow
}

/// An entry of `syscalls`: what becomes of some system calls.
public struct SeccompRule: Equatable, Sendable {
    /// `names`, at least one. Names that the library which compiles the profile does not know mean nothing.
    public var names: [String]
    public var action: SeccompAction
    /// `args`: the rule is for calls that pass all of these comparisons. Where two are of the same argument, one that
    /// passes is enough, which is how runc takes such a list.
    public var comparisons: [SeccompComparison] = []
    /// `includes`: the rule applies only where all of this holds.
    public var includes = SeccompCondition()
    /// `excludes`: the rule does not apply where any of this holds.
    public var excludes = SeccompCondition()

    public init(names: [String], action: SeccompAction) {
        self.names = names
        self.action = action
    }
}

/// An entry of `args`: a comparison of one argument of a call, as 64 unsigned bits.
public struct SeccompComparison: Equatable, Sendable {
    public enum Operator: Equatable, Sendable {
        case notEqual, less, lessOrEqual, equal, greaterOrEqual, greater
        /// The argument's bits that `value` masks equal `valueTwo`.
        case maskedEqual
    }

    /// Which argument, 0–5.
    public var index: UInt32
    public var value: UInt64
    /// For ``Operator/maskedEqual`` only.
    public var valueTwo: UInt64
    public var `operator`: Operator

    public init(index: UInt32, value: UInt64, valueTwo: UInt64 = 0, operator: Operator) {
        self.index = index
        self.value = value
        self.valueTwo = valueTwo
        self.operator = `operator`
    }
}

/// `includes` or `excludes` of a rule: what the container and the machine are like. Empty for a rule without.
public struct SeccompCondition: Equatable, Sendable {
    /// `arches`: machines by Docker's names ("amd64").
    public var architectures: [String] = []
    /// `caps`: bit n for capability n; those of the container's bounding set are meant.
    public var capabilities: UInt64 = 0
    /// `minKernel`: this kernel or a later one.
    public var minimumKernel: KernelVersion?

    public init() {}
}

/// An entry of `archMap`: a machine's ABI, and the others that it may have beside.
public struct SeccompArchitectures: Equatable, Sendable {
    public var architecture: String
    public var subarchitectures: [String]

    public init(architecture: String, subarchitectures: [String]) {
        self.architecture = architecture
        self.subarchitectures = subarchitectures
    }
}

/// The numbers a kernel's release begins with.
public struct KernelVersion: Equatable, Comparable, Sendable {
    public var major: UInt32
    public var minor: UInt32
    public var patch: UInt32

    public init(_ major: UInt32, _ minor: UInt32, _ patch: UInt32 = 0) {
        self.major = major
        self.minor = minor
        self.patch = patch
    }

    /// The version in a release as uname(2) gives it: "6.1.0-56-cloud-amd64", "6.12". nil where it has no such beginning.
    public init?(release: String) {
        let numbers = release.utf8.prefix { $0 == UInt8(ascii: ".") || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        self.init(numbers: numbers)
    }

    /// The version that a profile gives: two or three numbers and nothing else.
    init?(_ text: String) { self.init(numbers: text.utf8[...]) }

    private init?(numbers: Substring.UTF8View) {
        var parts: [UInt32] = []
        for part in numbers.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard let number = UInt32(String(Substring(part))), parts.count < 3, part.first != UInt8(ascii: "+") else { return nil }
            parts.append(number)
        }
        guard parts.count >= 2 else { return nil }
        self.init(parts[0], parts[1], parts.count > 2 ? parts[2] : 0)
    }

    public static func < (left: KernelVersion, right: KernelVersion) -> Bool {
        if left.major != right.major { return left.major < right.major }
        if left.minor != right.minor { return left.minor < right.minor }
        return left.patch < right.patch
    }
}
