import CLinux
import ContainerSpec

/// Whom a profile is compiled for: what the conditions of its rules ask about.
public struct SeccompTarget: Equatable, Sendable {
    /// The container's bounding set, bit n for capability n. Docker asks about that set and no other.
    public var boundingCapabilities: UInt64
    /// The kernel that the container runs on.
    public var kernel: KernelVersion

    public init(boundingCapabilities: UInt64, kernel: KernelVersion) {
        self.boundingCapabilities = boundingCapabilities
        self.kernel = kernel
    }

    /// The target on the running kernel.
    public init(boundingCapabilities: UInt64) {
        let kernel = KernelVersion(release: String(cString: clinux_kernel_release()))
        self.init(boundingCapabilities: boundingCapabilities, kernel: kernel ?? KernelVersion(0, 0))
    }

    #if arch(x86_64)
        /// The machine's own ABI, as the runtime-spec and as Docker's conditions name it.
        static let architecture = "SCMP_ARCH_X86_64"
        static let machine = "amd64"
    #elseif arch(arm64)
        static let architecture = "SCMP_ARCH_AARCH64"
        static let machine = "arm64"
    #endif
}

extension SeccompProfile {
    /// The ABIs to filter on this machine, besides its own.
    var effectiveArchitectures: [String] {
        for entry in architectureMap where entry.architecture == SeccompTarget.architecture {
            return [entry.architecture] + entry.subarchitectures
        }
        return architectures
    }

    /// The rules whose conditions hold.
    func rules(for target: SeccompTarget) -> [SeccompRule] { rules.filter { $0.applies(to: target) } }
}

extension SeccompRule {
    /// As Docker decides it: the rule needs every included capability and one of the included machines, and stands back for
    /// any that is excluded.
    func applies(to target: SeccompTarget) -> Bool {
        if excludes.architectures.contains(SeccompTarget.machine) { return false }
        if excludes.capabilities & target.boundingCapabilities != 0 { return false }
        if let kernel = excludes.minimumKernel, target.kernel >= kernel { return false }
        if !includes.architectures.isEmpty && !includes.architectures.contains(SeccompTarget.machine) { return false }
        if includes.capabilities & ~target.boundingCapabilities != 0 { return false }
        if let kernel = includes.minimumKernel, target.kernel < kernel { return false }
        return true
    }
}
