import CLinux
import Linux
import SessionLog

/// What to do with a capture.
public struct ReplayOptions: Sendable {
    public enum Mode: Sendable, Equatable {
        /// Write stdout and stderr as the container did.
        case play
        /// Write an asciicast v2 recording.
        case asciicast(columns: Int, rows: Int)
        /// Compare counts and digests with the exit record.
        case verify
        /// Print the exit record.
        case exitRecord
    }

    public var mode = Mode.play
    /// Nil judges by the beginning of the capture.
    public var kind: CaptureKind?
    /// 1 is the original speed; nil is at once.
    public var speed: Double?
    /// Begin each line with its time stamp.
    public var timestamps = false
    /// Only this stream; nil is both.
    public var stream: LogStream?
    /// Leave out output before this time.
    public var since: Timestamp?
    /// Only this boot, counted from 1; nil is all.
    public var boot: Int?
    /// Go on when the file grows, until the exit record.
    public var follow = false
    /// It is of no use without the exit record: what is followed and will never have one is an error.
    public var needsExit = false
    /// How the container ended, for a log that does not say it itself.
    public var exit: ExitRecord?

    public init() {}
}

/// How a replay ended.
public struct ReplayResult: Sendable {
    /// What the session log told about each boot that was asked for; empty for a console capture.
    public var boots: [BootSummary] = []
    /// In ``ReplayOptions/Mode/verify``: every byte of every boot is there.
    public var isVerified = false
    /// The reader of the output went away before the end.
    public var readerGone = false
}

/// Replays captures of the session log and of the diagnostics port.
public struct Replay {
    private let options: ReplayOptions
    private var output: OrderedOutput
    private let program: String

    private var decoder = LogDecoder()
    private var tracker = SessionTracker()
    private var timeLine = TimeLine()
    private var pacing: Pacing
    private var cast: AsciicastWriter
    private var boot = 0
    /// Streams whose last piece did not end its line: they get no time stamp before the next piece.
    private var isInLine: [LogStream: Bool] = [:]

    /// - Parameters:
    ///   - stdout, stderr: borrowed descriptors. SIGPIPE must be ignored for a closed one to end the replay quietly.
    ///   - program: begins each line about the capture that goes to `stderr`.
    public init(_ options: ReplayOptions, stdout: Int32, stderr: Int32, program: String = "tetherctl") {
        self.options = options
        self.program = program
        output = OrderedOutput(stdout: stdout, stderr: stderr)
        pacing = Pacing(speed: options.speed, start: Clock.monotonic())
        if case .asciicast(let columns, let rows) = options.mode {
            cast = AsciicastWriter(columns: columns, rows: rows)
        } else {
            cast = AsciicastWriter()
        }
    }

    /// Reads `source` to its end, or with ``ReplayOptions/follow`` to the exit record, and writes what the options say.
    public mutating func run(_ source: inout CaptureSource) throws(ReplayError) -> ReplayResult {
        do throws(OrderedOutput.Failure) {
            return try replay(&source)
        } catch {
            switch error {
            case .failed(let error): throw error
            case .readerGone:
                var result = ReplayResult()
                result.boots = chosenBoots
                result.readerGone = true
                return result
            }
        }
    }

    private mutating func replay(_ source: inout CaptureSource) throws(OrderedOutput.Failure) -> ReplayResult {
        var beginning: [UInt8] = []
        var kind = options.kind
        while kind == nil {
            let chunk = try read(&source)
            beginning += chunk
            kind = CaptureKind.detect(beginning, isAll: chunk.isEmpty)
        }
        return kind == .console ? try replayConsole(beginning, &source) : try replayLog(beginning, &source)
    }

    /// The next bytes, empty at the end of the capture.
    private func read(_ source: inout CaptureSource) throws(OrderedOutput.Failure) -> [UInt8] {
        do throws(ReplayError) {
            while true {
                // The writer of a pipe may stay after the session's end.
                if options.follow, tracker.hasEnded, !source.hasInput { return [] }
                let chunk = try source.read()
                if !chunk.isEmpty || !options.follow || !source.mayGrow || tracker.hasEnded { return chunk }
                try source.waitForGrowth()
            }
        } catch { throw .failed(error) }
    }

    private mutating func replayConsole(
        _ beginning: [UInt8], _ source: inout CaptureSource
    ) throws(OrderedOutput.Failure) -> ReplayResult {
        guard options.mode == .play else {
            throw .failed(
                ReplayError(
                    operation: "use", object: "this capture", cause: "it is of the diagnostics port; a session log is needed here"))
        }
        var printer = ConsolePrinter()
        var chunk = beginning.isEmpty ? try read(&source) : beginning
        while !chunk.isEmpty {
            try output.write(printer.decode(chunk), to: output.stdout)
            try output.flush()
            chunk = try read(&source)
        }
        try output.write(printer.finish(), to: output.stdout)
        try output.flush()
        return ReplayResult()
    }

    private mutating func replayLog(
        _ beginning: [UInt8], _ source: inout CaptureSource
    ) throws(OrderedOutput.Failure) -> ReplayResult {
        var chunk = beginning.isEmpty ? try read(&source) : beginning
        while !chunk.isEmpty {
            for item in decoder.decode(chunk) { try take(item) }
            try output.flush()
            // It would be waited for until the reader has enough of it.
            if options.follow, options.needsExit, decoder.format == .vic {
                throw .failed(
                    ReplayError(
                        operation: "follow", object: "this capture", cause: "a log in VIC's format does not say when the container ends"))
            }
            chunk = try read(&source)
        }
        for item in decoder.finish() { try take(item) }
        if decoder.format == .vic { tracker.end(withoutEvents: options.exit) }
        if case .asciicast = options.mode { try output.write(cast.finish(), to: output.stdout) }
        let result = try conclude()
        try output.flush()
        return result
    }

    private mutating func take(_ item: CRIDecoder.Item) throws(OrderedOutput.Failure) {
        let step = tracker.take(item)
        let isNewBoot = tracker.boots.count != boot
        boot = tracker.boots.count
        if isNewBoot {
            timeLine.startBoot()
            isInLine = [:]
            if case .asciicast = options.mode, isChosen(boot) { try output.write(cast.startBoot(), to: output.stdout) }
        }
        switch step {
        case .output(let record): try put(record)
        case .truncated(let record):
            if record.stream != .event { try put(record) }
        case .skipped(let offset, let count): try say("skipped \(count) bytes at offset \(offset): no part of a record")
        case .event(_, let time): advance(to: time)
        case .unknownEvent(let json, let time):
            advance(to: time)
            if !SessionEvent.isUnknown(json: json) { try say("the event of \(time.text) cannot be read") }
        case nil: break
        }
    }

    private mutating func advance(to time: Timestamp) {
        if isChosen(boot), isRecentEnough(time) { _ = timeLine.advance(to: time) }
    }

    private mutating func put(_ record: CRIRecord) throws(OrderedOutput.Failure) {
        guard isChosen(boot), isRecentEnough(record.timestamp), options.stream == nil || options.stream == record.stream
        else { return }
        switch options.mode {
        case .verify, .exitRecord: break
        case .asciicast: try output.write(cast.encode(record), to: output.stdout)
        case .play:
            try pace(record.timestamp)
            let descriptor = record.stream == .stderr ? output.stderr : output.stdout
            if options.timestamps {
                if isInLine[record.stream] != true { try output.write((record.timestamp.text + " ").utf8, to: descriptor) }
                isInLine[record.stream] = !record.endsLine
            }
            try output.write(record.bytes, to: descriptor)
            if record.endsLine { try output.write(CollectionOfOne(10), to: descriptor) }
        }
    }

    /// Waits until a record of this time is due.
    private mutating func pace(_ time: Timestamp) throws(OrderedOutput.Failure) {
        guard options.speed != nil else { return }
        let due = pacing.due(timeLine.advance(to: time))
        while true {
            let left = due - Clock.monotonic()
            if left <= 0 { return }
            try output.flush()
            // poll(2) waits whole milliseconds; aiming at an absolute time, the errors do not add up.
            _ = poll(nil, 0, Int32(clamping: min(left / 1_000_000 + 1, 60_000)))
        }
    }

    private func isRecentEnough(_ time: Timestamp) -> Bool { options.since.map { time >= $0 } ?? true }

    private func isChosen(_ boot: Int) -> Bool { options.boot == nil || options.boot == boot }

    private var chosenBoots: [BootSummary] { tracker.boots.filter { isChosen($0.number) } }

    /// Says at the end what the mode asks for, and what the capture lacks.
    private mutating func conclude() throws(OrderedOutput.Failure) -> ReplayResult {
        var result = ReplayResult(boots: chosenBoots)
        let severalBoots = tracker.boots.count > 1
        if result.boots.isEmpty { try say(tracker.boots.isEmpty ? "the capture holds no record" : "the capture holds no such boot") }
        for boot in result.boots {
            let name = severalBoots ? "boot \(boot.number): " : ""
            switch options.mode {
            case .verify:
                let defects = boot.defects
                let lines =
                    defects.isEmpty
                    ? ["verified: stdout \(boot.stdout.bytes) bytes, stderr \(boot.stderr.bytes) bytes"] : defects.map { "FAILED: \($0)" }
                for line in lines { try output.write("\(name)\(line)\n".utf8, to: output.stdout) }
            case .exitRecord:
                if severalBoots { try output.write("boot \(boot.number)\n".utf8, to: output.stdout) }
                if let exit = boot.exit {
                    try output.write(exit.report.utf8, to: output.stdout)
                } else {
                    try say(
                        name + (boot.hasEvents ? "the exit record is missing: the capture is incomplete" : BootSummary.withoutEvents))
                }
            case .play, .asciicast:
                for defect in boot.damage { try say("\(name)\(defect)") }
            }
        }
        result.isVerified = !result.boots.isEmpty && result.boots.allSatisfy { $0.defects.isEmpty }
        return result
    }

    private mutating func say(_ text: String) throws(OrderedOutput.Failure) {
        try output.write("\(program): \(text)\n".utf8, to: output.stderr)
    }
}
