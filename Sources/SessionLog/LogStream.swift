/// The streams that share a session log.
public enum LogStream: UInt8, Sendable, Equatable, Hashable, CaseIterable {
    case stdout
    case stderr
    /// Lifecycle events: one JSON object a line.
    case event

    /// The name that stands in a record.
    public var name: String {
        switch self {
        case .stdout: return "stdout"
        case .stderr: return "stderr"
        case .event: return "event"
        }
    }
}

/// One record of a session log.
public struct CRIRecord: Sendable, Equatable {
    /// When the first of its bytes was read from the container process.
    public var timestamp: Timestamp
    public var stream: LogStream
    /// True for `F`, which ends a line; false for `P`, which the stream's next record continues.
    public var endsLine: Bool
    /// The content, without the newline that an `F` stands for.
    public var bytes: [UInt8]

    public init(timestamp: Timestamp, stream: LogStream, endsLine: Bool, bytes: [UInt8]) {
        self.timestamp = timestamp
        self.stream = stream
        self.endsLine = endsLine
        self.bytes = bytes
    }

    /// The most content that a writer puts into one record.
    public static let maximumContent = 16_384
}
