import Container
import ContainerSpec
import Linux
import Seccomp

/// The container's system call filter: compiled once for each profile, however often the container is started.
final class FilterPreparation {
    private struct Source: Equatable {
        let profile: SeccompProfile
        let bounding: UInt64
    }

    /// What the configuration last begun with comes to; nil where it has no profile.
    private(set) var filter: SyscallFilter?
    /// What ``filter`` was made of.
    private var source: Source?
    private var compilation: SeccompCompilation?
    /// What ``compilation`` works on.
    private var compiled: Source?
    private let diagnostics: Diagnostics

    init(_ diagnostics: Diagnostics) { self.diagnostics = diagnostics }

    /// Readable when ``step()`` has something to do; -1 when nothing is under way.
    var descriptor: Int32 { compilation?.descriptor ?? -1 }
    var deadline: Deadline? { compilation?.deadline }

    /// Begins to compile what `spec` has.
    /// - Returns: whether nothing has to be waited for.
    func begin(_ spec: ContainerSpec) throws(SeccompError) -> Bool {
        let wanted = spec.seccomp.map { Source(profile: $0, bounding: spec.process.capabilities.bounding) }
        if wanted == source { return true }
        abandon()
        (filter, source, compiled) = (nil, nil, wanted)
        guard let wanted else { return true }
        compilation = try SeccompCompilation(wanted.profile, for: SeccompTarget(boundingCapabilities: wanted.bounding))
        return false
    }

    /// - Returns: whether it is done.
    func step() throws(SeccompError) -> Bool {
        do throws(SeccompError) {
            guard let program = try compilation?.step() else { return false }
            compilation = nil
            for name in program.unknownCalls { diagnostics.warning("linux.seccomp: system call not known, skipped: \(name)") }
            filter = SyscallFilter(instructions: program.instructions, flags: program.flags)
            source = compiled
            return true
        } catch {
            compilation = nil
            throw error
        }
    }

    /// Ends what is under way.
    func abandon() {
        guard let compilation = compilation.take() else { return }
        compilation.cancel()
    }
}
