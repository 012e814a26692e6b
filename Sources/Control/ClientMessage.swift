public import SessionLog

/// Where the output that an attachment gets of one stream begins.
public enum StreamStart: Sendable, Equatable {
    /// The stream is not followed.
    case none
    /// With what is written from now on.
    case live
    /// With the oldest byte that is still kept.
    case oldest
    /// At an absolute offset from the stream's first byte; where that is no longer kept, with the oldest byte that is.
    case offset(UInt64)
}

/// A client's wish to follow a session.
public struct AttachRequest: Sendable, Equatable {
    /// The session's name; empty for the primary one.
    public var session: String
    public var stdout: StreamStart
    public var stderr: StreamStart
    /// How many bytes of each stream the client takes before it has granted more.
    public var stdoutWindow: UInt32
    public var stderrWindow: UInt32
    public var wantsStdin: Bool
    /// What the client's input is known by when it comes again (``Attached/stdinTaken``): a number that it drew; 0 for one that does
    /// not come again.
    public var inputKey: UInt64

    public init(
        session: String = "", stdout: StreamStart = .live, stderr: StreamStart = .live, stdoutWindow: UInt32 = 65_536,
        stderrWindow: UInt32 = 65_536, wantsStdin: Bool = false, inputKey: UInt64 = 0
    ) {
        self.session = session
        self.stdout = stdout
        self.stderr = stderr
        self.stdoutWindow = stdoutWindow
        self.stderrWindow = stderrWindow
        self.wantsStdin = wantsStdin
        self.inputKey = inputKey
    }
}

/// A client's wish to start a session of its own in the container, attached to it from the first byte on.
public struct ExecRequest: Sendable, Equatable {
    /// The session's name; empty to have one chosen.
    public var session: String
    /// The runtime-spec's `process` object in JSON, as `runc exec --process` takes it.
    public var process: [UInt8]
    /// How many bytes of each stream the client takes before it has granted more.
    public var stdoutWindow: UInt32
    public var stderrWindow: UInt32
    /// Whether the process gets a standard input from this client; if not, it is /dev/null.
    public var wantsStdin: Bool
    /// The process's input ends when the first client goes that could write to it; if not, only when a client ends it.
    public var endsInputWithClient: Bool
    /// As in ``AttachRequest``.
    public var inputKey: UInt64

    public init(
        session: String = "", process: [UInt8], stdoutWindow: UInt32 = 65_536, stderrWindow: UInt32 = 65_536, wantsStdin: Bool = false,
        endsInputWithClient: Bool = true, inputKey: UInt64 = 0
    ) {
        self.session = session
        self.process = process
        self.stdoutWindow = stdoutWindow
        self.stderrWindow = stderrWindow
        self.wantsStdin = wantsStdin
        self.endsInputWithClient = endsInputWithClient
        self.inputKey = inputKey
    }
}

/// The public half of a key by which the attach server proves who it is.
public struct HostKey: Sendable, Equatable {
    /// As in OpenSSH's known_hosts, without the host's name: the kind of key and its bytes in base64.
    public var line: String
    /// `SHA256:` and the digest in base64, as ssh-keygen(1) prints it.
    public var fingerprint: String

    public init(line: String, fingerprint: String) {
        self.line = line
        self.fingerprint = fingerprint
    }
}

/// What a client says to PID 1.
///
/// `tag` is a number of the client's choice that comes back with every answer. An attachment is known by the tag of the
/// `attach` or `exec` that made it.
public enum ClientMessage: ControlMessage, Equatable {
    /// The first message.
    case hello(version: UInt16, name: String)
    /// Answered with a `session` for each session, then `done`.
    case list(tag: UInt32)
    /// Answered with `attached`, then output as far as the windows go.
    case attach(tag: UInt32, AttachRequest)
    /// Answered with `attached` once the process runs.
    case exec(tag: UInt32, ExecRequest)
    /// The client takes `bytes` more of a stream. Not answered.
    case window(tag: UInt32, LogStream, bytes: UInt32)
    /// Answered with `detached`.
    case detach(tag: UInt32)
    /// Input for the process, within the credit. Not answered.
    case stdin(tag: UInt32, [UInt8])
    /// No more input comes: end-of-file for a pipe, the end-of-file character for a terminal. Answered with `stdinClosed`.
    case closeStdin(tag: UInt32)
    /// The terminal's new size. Answered with `done`.
    case resize(tag: UInt32, session: String, rows: UInt16, columns: UInt16)
    /// Sends a signal to the session's process. Answered with `done`.
    case signal(tag: UInt32, session: String, number: UInt8)
    /// Answered with `exited` once the session has ended.
    case wait(tag: UInt32, session: String)
    /// Forgets an exec session that has ended. Answered with `done`.
    case forget(tag: UInt32, session: String)
    /// Stops the container, as the power button does. A signal 0 and a time of nil stand for the configured ones. Answered
    /// with `done` when the stop has begun.
    case stop(tag: UInt32, signal: UInt8, timeoutMilliseconds: UInt32?)
    /// Reads the configuration again. Answered with `done`.
    case reload(tag: UInt32)
    /// Freezes the container. Answered with `done` once it is frozen.
    case pause(tag: UInt32)
    /// Thaws it. Answered with `done`.
    case resume(tag: UInt32)
    /// Answered with `stats`.
    case stats(tag: UInt32)
    /// Answered with `done`, then with an `event` for each thing that happens.
    case subscribe(tag: UInt32)
    /// Answered with `pong`.
    case ping(tag: UInt32)

    /// Starts the session's process, where that waits for a client: the container's own by `attach.wait`, an exec of VIC's by
    /// `runblock`. Answered with `done`, also where it has been started before. `modes` are those of the client's terminal, for the
    /// process's: a JSON array as in `process.terminalModes`, or nothing.
    case release(tag: UInt32, session: String = "", modes: [UInt8] = [])
    /// The attach server's host keys, for PID 1 to publish. From the attach server alone, once. Answered with `done`.
    case announce(tag: UInt32, [HostKey])

    /// The types' numbers on the wire.
    enum Kind: UInt8 {
        case hello = 1, list, attach, exec, window, detach, stdin, closeStdin, resize, signal, wait, forget, stop, reload, pause
        case resume, stats, subscribe, ping, release, announce
    }

    /// The tag to answer with; nil for `hello`.
    public var tag: UInt32? {
        switch self {
        case .hello: return nil
        case .list(let tag), .attach(let tag, _), .exec(let tag, _), .window(let tag, _, _), .detach(let tag), .stdin(let tag, _),
            .closeStdin(let tag), .resize(let tag, _, _, _), .signal(let tag, _, _), .wait(let tag, _), .forget(let tag, _),
            .stop(let tag, _, _), .reload(let tag), .pause(let tag), .resume(let tag), .stats(let tag), .subscribe(let tag),
            .ping(let tag), .release(let tag, _, _), .announce(let tag, _):
            return tag
        }
    }
}
