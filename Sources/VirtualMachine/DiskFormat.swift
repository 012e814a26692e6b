import CLinux
import Linux

/// The format of a disk image, from its first bytes.
///
/// QEMU is always told the format: were it left to guess, a guest could write another format's header into its raw disk
/// and have the host open any file at the next start.
public enum DiskFormat: String, Sendable, CaseIterable {
    case vmdk, qcow2, raw

    public init(firstBytes: [UInt8]) {
        let descriptor = Array("# Disk DescriptorFile".utf8)
        if firstBytes.starts(with: Array("KDMV".utf8)) || firstBytes.starts(with: descriptor) {
            self = .vmdk
        } else if firstBytes.starts(with: [0x51, 0x46, 0x49, 0xFB]) {
            self = .qcow2
        } else {
            self = .raw
        }
    }

    /// Reads the beginning of the image at `path`.
    public init(path: String) throws(VirtualMachineError) {
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = try system { () throws(SyscallError) in
            let file = try FileDescriptor.open(path, O_RDONLY)
            return try buffer.withUnsafeMutableBytesTyped { (bytes) throws(SyscallError) in
                try file.read(into: bytes, object: path) ?? 0
            }
        }
        self.init(firstBytes: Array(buffer[..<count]))
    }
}
