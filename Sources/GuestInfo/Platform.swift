import Linux

/// Whether this machine claims to be a VMware one: what may be asked without touching the port. ``Probe`` then decides.
public struct Platform: Sendable {
    /// CPUID leaf 1, ECX bit 31: there is a hypervisor.
    public var hypervisorPresent = false
    /// EBX, ECX and EDX of CPUID leaf 0x40000000: twelve characters.
    public var hypervisorSignature: [UInt8] = []
    /// DMI product serial, where it is known.
    public var productSerial: String?
    /// DMI system vendor, where it is known.
    public var systemVendor: String?
    /// The kernel's command line.
    public var kernelArguments = ""

    public init() {}

    public enum Verdict: Equatable, Sendable, CustomStringConvertible {
        case vmware(Reason)
        /// The signature of the hypervisor that is there instead, empty where there is none.
        case other(hypervisor: String)

        public var description: String {
            switch self {
            case .vmware(.cpuid): "VMware, by its CPUID signature"
            case .vmware(.serial): "VMware, by its DMI serial number"
            case .vmware(.vendor): "VMware, by its DMI vendor"
            case .vmware(.argument): "VMware, by the kernel argument tether.platform=vmware"
            case .other(let name): name.isEmpty ? "not a VMware machine (no hypervisor)" : "not a VMware machine (hypervisor \(name))"
            }
        }
    }

    /// What says that this is VMware.
    public enum Reason: Equatable, Sendable { case cpuid, serial, vendor, argument }

    /// The first source that says VMware wins; what the processor says stands before what firmware and people say.
    public var verdict: Verdict {
        if hypervisorPresent && hypervisorSignature == Array("VMwareVMware".utf8) { return .vmware(.cpuid) }
        // The two beginnings that Linux itself takes for VMware's (arch/x86/kernel/cpu/vmware.c).
        if let serial = productSerial, serial.hasPrefix("VMware-") || serial.hasPrefix("VMW") { return .vmware(.serial) }
        if let vendor = systemVendor, vendor == "VMware, Inc." || vendor == "VMware, Inc" { return .vmware(.vendor) }
        let separators: [UInt8] = [0x20, 0x09, 0x0A]
        let words = kernelArguments.utf8.split { separators.contains($0) }
        if words.contains(where: { $0.elementsEqual("tether.platform=vmware".utf8) }) { return .vmware(.argument) }
        guard hypervisorPresent else { return .other(hypervisor: "") }
        let printable = hypervisorSignature.filter { $0 >= 0x20 && $0 < 0x7F }
        return .other(hypervisor: printable.isEmpty ? "unnamed" : String(decoding: printable, as: UTF8.self))
    }

    /// Asks the processor, and reads DMI and the command line where sysfs and procfs are mounted.
    public static func current() -> Platform {
        var platform = Platform()
        platform.hypervisorPresent = CPUID.read(1).ecx & 0x8000_0000 != 0
        if platform.hypervisorPresent {
            let leaf = CPUID.read(0x4000_0000)
            for register in [leaf.ebx, leaf.ecx, leaf.edx] {
                for shift in [UInt32(0), 8, 16, 24] { platform.hypervisorSignature.append(UInt8(truncatingIfNeeded: register >> shift)) }
            }
        }
        platform.productSerial = text("/sys/class/dmi/id/product_serial")
        platform.systemVendor = text("/sys/class/dmi/id/sys_vendor")
        platform.kernelArguments = text("/proc/cmdline") ?? ""
        return platform
    }

    /// A file that may not exist, or may not be readable: then it says nothing.
    private static func text(_ path: String) -> String? {
        do throws(SyscallError) { return try Files.readText(path, limit: 65_536) } catch { return nil }
    }
}
