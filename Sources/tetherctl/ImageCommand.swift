import ArgumentParser
import DiskImage
import Foundation

/// `tetherctl image`: makes the disk that a container VM takes its root file system from.
struct ImageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image", abstract: "Make an image disk from a directory or a tar file.",
        discussion: """
            The disk holds one labelled file system with the content of the source, owners and modes included. Nothing is \
            mounted and root is not needed; without root, the caller's files belong to root on the disk. With \
            SOURCE_DATE_EPOCH in the environment the same source gives the same disk (ext4, squashfs, erofs).
            """)

    @Option(name: .customLong("from"), help: "The directory, or tar file (plain, gzip, xz or zstd), to take.")
    var source: String

    @Option(help: "The file to make. (default: the source's name with .vmdk or .img)")
    var output: String?

    @Option(help: "The label by which the VM finds the file system. Empty for none.")
    var label = "containerfs"

    @Option(help: "The file system to make.")
    var filesystem = Filesystem.ext4

    @Option(help: "The size of the file system, such as 512M or 2G. (default: the content, a quarter more, and 64 MiB)")
    var size: ByteCount?

    @Option(help: "A VMDK that grows, a compressed one for upload to ESXi, or the plain bytes.")
    var format = DiskFormat.vmdk

    @Option(help: "The file system's UUID. (default: derived from the content)")
    var uuid: UUID?

    @Option(help: "Put the file system into a partition with the same label: gpt.")
    var partition: PartitionScheme?

    func run() throws {
        // Ctrl-C reaches the programs that do the work; they end, and the work directory is removed.
        signal(SIGINT, SIG_IGN)
        let file = output ?? Self.defaultOutput(source, format)
        let now = Int64(Date().timeIntervalSince1970)
        var image = DiskImage(
            source: source, output: file, timestamp: ProcessInfo.processInfo.environment["SOURCE_DATE_EPOCH"].flatMap { Int64($0) } ?? now)
        image.label = label
        image.filesystem = filesystem
        image.size = size?.bytes
        image.format = format
        image.uuid = uuid
        image.partitioned = partition != nil
        let made: DiskImage.Summary
        do throws(DiskImageError) { made = try image.make() } catch { throw ImageFailure(error.description) }

        var line = "\(file): \(filesystem.rawValue)"
        if !label.isEmpty { line += " \(partition == nil ? "LABEL" : "PARTLABEL")=\(label)" }
        if filesystem != .squashfs { line += " UUID=\(made.uuid.uuidString.lowercased())" }
        if let id = made.partitionUUID { line += " PARTUUID=\(id.uuidString.lowercased())" }
        print(line + ", \(made.entries) entries, \(made.diskSize >> 20) MiB")
    }

    /// "x/root.tar.zst" gives "x/root.vmdk".
    static func defaultOutput(_ source: String, _ format: DiskFormat) -> String {
        var stem = source
        while stem.hasSuffix("/") && stem.count > 1 { stem.removeLast() }
        for suffix in [".gz", ".xz", ".zst", ".tar", ".tgz", ".txz"] where stem.hasSuffix(suffix) { stem.removeLast(suffix.count) }
        return stem + (format == .raw ? ".img" : ".vmdk")
    }
}

extension Filesystem: ExpressibleByArgument {}
extension DiskFormat: ExpressibleByArgument {}

enum PartitionScheme: String, ExpressibleByArgument, CaseIterable { case gpt }

extension UUID: @retroactive ExpressibleByArgument {
    public init?(argument: String) { self.init(uuidString: argument) }
}

/// A number of bytes, written as a number with or without K, M, G or T (powers of 1024).
struct ByteCount: ExpressibleByArgument {
    let bytes: Int64

    init?(argument: String) {
        let units: [Character: Int64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
        let unit = argument.last.flatMap { units[Character($0.uppercased())] }
        guard let number = Int64(unit == nil ? Substring(argument) : argument.dropLast()), number > 0 else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit ?? 1)
        if overflow { return nil }
        bytes = product
    }
}

/// An error that ArgumentParser prints as "Error: …" and exits with status 1 for.
private struct ImageFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
