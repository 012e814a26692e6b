import CLinux
import ContainerSpec
import Linux

/// A profile on its way to a program.
///
/// libseccomp works in a ``Worker``: none of its memory stays in the caller, and a profile on which it would spend minutes
/// (many comparisons of arguments) is given up at the deadline. An event loop watches ``descriptor`` and the ``deadline``
/// and calls ``step()``; who may wait calls ``wait(interrupt:)``.
public struct SeccompCompilation: ~Copyable {
    private var worker: Worker
    private let flags: UInt32
    /// When ``step()`` gives up.
    public let deadline: Deadline

    /// How long a compilation may take, in milliseconds. Docker's whole profile takes some ten.
    public static let patience: Int64 = 10_000

    /// Starts to compile the rules of `profile` that apply to `target`.
    /// - Parameter patience: milliseconds until it is given up.
    /// - Throws: ``SeccompError`` when there is no process to be had for it.
    public init(
        _ profile: SeccompProfile, for target: SeccompTarget, patience: Int64 = SeccompCompilation.patience
    ) throws(SeccompError) {
        do throws(SyscallError) {
            worker = try Worker.start("compile linux.seccomp") { output in
                do throws(SeccompError) {
                    let program = try FilterBuilder.program(profile, target)
                    output.send(CompilationMessage.encode(program))
                } catch {
                    output.send(CompilationMessage.encode(error))
                }
            }
        } catch {
            throw SeccompCompilation.failure(error.description)
        }
        flags = profile.flags
        deadline = .after(milliseconds: patience)
    }

    /// The descriptor to watch for reading. It changes on the way: ask for it after each ``step()``.
    public var descriptor: Int32 { worker.descriptor }

    /// The process that compiles.
    public var processID: Int32 { worker.processID }

    /// Takes what there is without waiting. To be called when ``descriptor`` is readable or ``deadline`` has passed.
    /// - Returns: the program, once; nil while it is not ready.
    /// - Throws: ``SeccompError``; then the compilation is over.
    public mutating func step() throws(SeccompError) -> SeccompProgram? {
        if let result = worker.step() { return try SeccompCompilation.program(result, flags) }
        if !deadline.hasPassed { return nil }
        worker.abandon()
        throw SeccompCompilation.failure(SeccompCompilation.late)
    }

    /// Waits for the program.
    /// - Throws: ``SeccompError``, also when the interrupt is requested.
    public consuming func wait(interrupt: Interrupt? = nil) throws(SeccompError) -> SeccompProgram {
        let flags = flags
        let result = worker.wait(until: deadline, interrupt: interrupt)
        return try SeccompCompilation.program(result, flags)
    }

    /// Gives the compilation up. The end of its process is not waited for: it is a child of the caller until that reaps it.
    public consuming func cancel() { worker.abandon() }

    private static func program(_ result: WorkerResult, _ flags: UInt32) throws(SeccompError) -> SeccompProgram {
        let cause: String
        switch result.ending {
        case .finished:
            if let message = result.messages.first, result.messages.count == 1 {
                return try CompilationMessage.decode(message, flags: flags)
            }
            cause = "the compiler gave no answer"
        case .died(let signal):
            cause = "the compiler died" + (signal == 0 ? "" : " of \(Signal(rawValue: signal)?.name ?? "signal \(signal)")")
        case .timedOut: cause = late
        case .interrupted: cause = "stopped"
        }
        throw failure(cause)
    }

    private static let late = "not done in time: the profile has too many comparisons of arguments"

    private static func failure(_ cause: String) -> SeccompError { SeccompError("compile", "linux.seccomp", cause) }
}

/// What the worker sends: the program, or what was wrong.
enum CompilationMessage {
    static func encode(_ program: SeccompProgram) -> [UInt8] {
        var encoder = FieldEncoder()
        encoder.append(true)
        encoder.append(program.instructions)
        for name in program.unknownCalls { encoder.append(name) }
        return encoder.bytes
    }

    static func encode(_ error: SeccompError) -> [UInt8] {
        var encoder = FieldEncoder()
        encoder.append(false)
        encoder.append(error.operation)
        encoder.append(error.object)
        encoder.append(error.cause)
        return encoder.bytes
    }

    /// - Throws: the error that was sent, or one that says that the message is none.
    static func decode(_ message: [UInt8], flags: UInt32) throws(SeccompError) -> SeccompProgram {
        var decoder = FieldDecoder(message)
        switch decoder.flag() {
        case true:
            guard let instructions = decoder.field(), !instructions.isEmpty,
                instructions.count % SeccompProgram.instructionSize == 0,
                instructions.count / SeccompProgram.instructionSize <= SeccompProgram.instructionLimit
            else { break }
            var program = SeccompProgram(instructions: instructions, flags: flags)
            while program.unknownCalls.count < SeccompProgram.unknownLimit, let name = decoder.text() { program.unknownCalls.append(name) }
            guard decoder.isAtEnd else { break }
            return program
        case false:
            guard let operation = decoder.text(), let object = decoder.text(), let cause = decoder.text(), decoder.isAtEnd else { break }
            throw SeccompError(operation, object, cause)
        case nil: break
        }
        throw SeccompError("compile", "linux.seccomp", "the compiler's answer makes no sense")
    }
}
