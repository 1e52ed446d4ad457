using System;
using System.IO;
using System.Runtime.InteropServices;

namespace SkylineExample
{
    /// <summary>Checks who owns a folder, which .NET itself does not tell on Unix.</summary>
    internal static class SocketFolder
    {
        private const int TypeMask = 0xF000, Directory = 0x4000, OtherUsers = 0x3F;

        /// <summary>Throws unless the folder is the caller's own, closed to others, and no symbolic link.</summary>
        public static void Check(string folder)
        {
            var status = new byte[256];
            int result, mode;
            uint owner;
            if (RuntimeInformation.IsOSPlatform(OSPlatform.Linux))
            {
                // AT_FDCWD, AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_MODE | STATX_UID: the same on every architecture.
                result = statx(-100, folder, 0x100, 0xB, status);
                owner = BitConverter.ToUInt32(status, 20);
                mode = BitConverter.ToUInt16(status, 28);
            }
            else if (RuntimeInformation.IsOSPlatform(OSPlatform.OSX))
            {
                bool arm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;
                result = arm ? lstat(folder, status) : lstat64(folder, status);
                mode = BitConverter.ToUInt16(status, 4);
                owner = BitConverter.ToUInt32(status, 16);
            }
            else
            {
                throw new PlatformNotSupportedException("This example knows Windows, Linux and macOS.");
            }
            if (result != 0 && Marshal.GetLastWin32Error() == 2) throw new NoDaemonException();
            if (result != 0) throw new IOException("Cannot look at " + folder + ".");
            if ((mode & TypeMask) != Directory || owner != getuid() || (mode & OtherUsers) != 0)
                throw new IOException(folder + " must be a folder of yours with mode 0700, and no symbolic link.");
        }

        [DllImport("libc")]
        public static extern uint getuid();

        [DllImport("libc", SetLastError = true)]
        private static extern int statx(int folder, string path, int flags, uint mask, [Out] byte[] status);

        [DllImport("libc", SetLastError = true)]
        private static extern int lstat(string path, [Out] byte[] status);

        [DllImport("libc", SetLastError = true, EntryPoint = "lstat$INODE64")]
        private static extern int lstat64(string path, [Out] byte[] status);
    }
}
