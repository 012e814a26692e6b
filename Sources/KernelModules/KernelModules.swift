import Linux

/// Why a module could not be loaded, or its index not be read.
public struct ModuleError: OperationFailure, Equatable, Sendable {
    /// "load module", "read module index".
    public let operation: String
    /// The module or the file.
    public let object: String
    public let cause: String

    public init(_ operation: String, _ object: String, _ cause: String) {
        self.operation = operation
        self.object = object
        self.cause = cause
    }
}

/// Which of the devices that are present get their modules.
public enum ModuleSelection: Sendable {
    /// What a boot needs: storage controllers and disks (PCI class 01, SCSI but CD-ROM, virtio block and SCSI), and the power button.
    case boot
    /// Network adapters (PCI class 02, virtio network).
    case network
    /// Everything in the machine for which the image has a module.
    case all
}

/// What a call of ``ModuleLoader`` did.
public struct ModuleReport: Equatable, Sendable {
    /// Modules that are loaded now and were not, or not known to be, before: in the order of their loading.
    public var loaded: [String] = []
    public var failures: [ModuleError] = []
    /// The interrupt was requested.
    public var wasInterrupted = false

    public init() {}

    mutating func merge(_ other: ModuleReport) {
        loaded += other.loaded
        failures += other.failures
        wasInterrupted = wasInterrupted || other.wasInterrupted
    }
}
