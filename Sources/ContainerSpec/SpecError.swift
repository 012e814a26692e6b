/// One thing that is wrong with a configuration.
public struct SpecIssue: Equatable, Sendable, CustomStringConvertible {
    public enum Kind: Equatable, Sendable {
        /// The text is no JSON, or past its bounds.
        case malformed
        /// A required property is absent.
        case missing
        /// A property has a wrong type or value.
        case invalid
        /// A property is right, but tether does not honour it.
        case unsupported
        /// A property means nothing to tether or to the runtime-spec.
        case unknown
    }

    public let kind: Kind
    /// Where, as a path from the document's root: "process.user.uid", "mounts[2].options". Empty for the document itself.
    public let path: String
    /// What is wrong, what was expected and what was found.
    public let problem: String

    public init(_ kind: Kind, _ path: String, _ problem: String) {
        self.kind = kind
        self.path = path
        self.problem = problem
    }

    /// For example "process.user.uid: expected an integer from 0 to 4294967294, found -1".
    public var description: String { path.isEmpty ? problem : "\(path): \(problem)" }
}

/// Why a configuration is refused: everything that is wrong with it, in the order of the checks.
public struct SpecError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The issues, at least one and at most ``limit``.
    public let issues: [SpecIssue]
    /// How many more there were.
    public let omitted: Int

    /// How many issues an error lists.
    public static let limit = 20

    public init(issues: [SpecIssue], omitted: Int = 0) {
        self.issues = issues
        self.omitted = omitted
    }

    /// All issues in one line.
    public var description: String {
        var text = ""
        for issue in issues {
            if !text.isEmpty { text += "; " }
            text += issue.description
        }
        return omitted == 0 ? text : text + "; and \(omitted) more"
    }
}
