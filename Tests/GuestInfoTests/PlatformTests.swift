import CLinux
import GuestInfo
import Testing

struct PlatformTests {
    private func platform(_ change: (inout Platform) -> Void) -> Platform.Verdict {
        var platform = Platform()
        platform.hypervisorPresent = true
        platform.hypervisorSignature = bytes("KVMKVMKVM") + [0, 0, 0]
        change(&platform)
        return platform.verdict
    }

    @Test func `Every source that may say VMware, and those that may not`() {
        #expect(platform { _ in } == .other(hypervisor: "KVMKVMKVM"))
        #expect(platform { $0.hypervisorSignature = bytes("VMwareVMware") } == .vmware(.cpuid))
        #expect(
            platform {
                $0.hypervisorPresent = false
                $0.hypervisorSignature = bytes("VMwareVMware")
            } == .other(hypervisor: ""))
        #expect(platform { $0.productSerial = "VMware-56 4d 01 02" } == .vmware(.serial))
        #expect(platform { $0.productSerial = "VMW0123" } == .vmware(.serial))
        #expect(platform { $0.productSerial = "not VMware-" } == .other(hypervisor: "KVMKVMKVM"))
        #expect(platform { $0.systemVendor = "VMware, Inc." } == .vmware(.vendor))
        #expect(platform { $0.systemVendor = "QEMU" } == .other(hypervisor: "KVMKVMKVM"))
        #expect(platform { $0.kernelArguments = "quiet tether.platform=vmware panic=5" } == .vmware(.argument))
        #expect(platform { $0.kernelArguments = "xtether.platform=vmware tether.platform=vmwarex" } == .other(hypervisor: "KVMKVMKVM"))
        #expect(platform { $0.hypervisorSignature = [] } == .other(hypervisor: "unnamed"))
    }

    @Test func `The probe survives the fault of a machine that is not VMware`() {
        // Where these tests run under VMware the port really answers.
        let expected: Probe.Outcome
        if case .vmware(.cpuid) = Platform.current().verdict { expected = .answered } else { expected = .faulted(signal: SIGSEGV) }
        for _ in 0..<20 { #expect(Probe.run(milliseconds: 20_000) == expected) }
    }
}
