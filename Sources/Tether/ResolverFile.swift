import ContainerSpec
import Linux

/// /etc/resolv.conf of the container, changed in place while it runs; what the container has written into it stays.
final class ResolverFile {
    static let directory = "/run/tether/network"
    private static let path = directory + "/resolv.conf"
    private static let destination = "/etc/resolv.conf"

    private let diagnostics: Diagnostics
    private var file: SharedFile?
    private var hasDirectory = false
    /// The warning that was given last, which comes again at each lease otherwise.
    private var told = ""

    init(_ diagnostics: Diagnostics) { self.diagnostics = diagnostics }

    /// Puts `text` in the place of what was there.
    func write(_ text: String) {
        do throws(SyscallError) {
            if file == nil {
                try prepare()
                file = try SharedFile(ResolverFile.path)
            }
            try file?.update(to: text)
            told = ""
        } catch {
            if error.description != told { diagnostics.warning(error.description) }
            told = error.description
        }
    }

    private func prepare() throws(SyscallError) {
        if hasDirectory { return }
        try ContainerFiles.make(ResolverFile.directory, size: "256k")
        hasDirectory = true
    }

    /// The mount of the file over the image's; nil where the configuration has something there, or the image no place for it.
    func mount(in spec: ContainerSpec, over image: ImageResolver?) -> ContainerMount? {
        if file == nil { return nil }
        if spec.mounts.contains(where: { ResolverFile.parts($0.destination) == ["etc", "resolv.conf"] }) { return nil }
        if image?.hasPlace == false {
            diagnostics.warning("the image has no \(ResolverFile.destination), and cannot be given one: it is read-only")
            return nil
        }
        return ContainerMount(
            destination: ResolverFile.destination, type: nil, source: ResolverFile.path, options: ["bind", "nosuid", "nodev"])
    }

    private static func parts(_ path: String) -> [String] {
        path.utf8.split(separator: UInt8(ascii: "/")).map { String(Substring($0)) }.filter { $0 != "." }
    }
}
