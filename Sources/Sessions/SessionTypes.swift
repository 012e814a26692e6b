import SessionLog

/// Where a session's output goes beside the attached clients: the session log.
public protocol OutputLog: AnyObject {
    /// It is behind, and takes nothing more: the process is not read meanwhile.
    var isFull: Bool { get }
    /// When it last got rid of a byte, on the monotonic clock.
    var lastProgress: Int64 { get }
    /// It has failed for good.
    var hasFailed: Bool { get }
    /// Takes output that was just read.
    func output(_ stream: LogStream, _ bytes: UnsafeRawBufferPointer)
}

/// Whoever owns a session and wants to know what becomes of it.
public protocol SessionOwner: AnyObject {
    /// The process has ended and all its output is read: ``Session/result`` is there.
    func sessionEnded(_ session: Session)
}

/// One client's end of a session, as the session sees it.
public protocol SessionClient: AnyObject {
    /// When its connection last took a byte of whatever waited for it, on the monotonic clock.
    var lastProgress: Int64 { get }
    /// There may be something to send: new output, an end, new credit.
    func attachmentChanged(_ attachment: Attachment)
}

/// A running process and its ends of the streams, as a session uses them. Its descriptors do not block.
public protocol StreamedProcess: AnyObject {
    var processID: Int32 { get }
    /// Write end of standard input, read ends of standard output and error; -1 for a stream that it does not have.
    var stdin: Int32 { get }
    var stdout: Int32 { get }
    var stderr: Int32 { get }
    /// The outer side of its terminal, which then stands for all three; -1 where it has none.
    var terminal: Int32 { get }
    /// Closes ``stdin``, which the process reads as an end of file.
    func closeStdin()
}

/// The times and sizes by which a session treats its process and its clients.
public struct SessionLimits: Sendable {
    /// Bytes of recent output kept of each stream.
    public var ringCapacity = 64 * 1024
    /// What happens to a client that stops to read, when the ring holds as much as it can for it.
    public var slowClient = SlowClient.detach
    /// How long such a client may hold back the process, in milliseconds, before it is detached.
    public var stallMilliseconds: Int64 = 2000
    /// Silence after which the output of an ended process counts as complete, where something else holds the stream open.
    public var drainGrace: Int64 = 1000
    /// When reading ends even without silence, in milliseconds after the process's end.
    public var drainDeadline: Int64 = 30_000

    public enum SlowClient: Sendable {
        /// It is detached after ``SessionLimits/stallMilliseconds``, and told at which offset.
        case detach
        /// The process waits for it as long as it runs.
        case block
    }

    public init() {}
}
