/**
 * A test that has found no process to kill must fail, and nothing else: a signal to pid 0 goes to the whole process group, the tests
 * and whatever runs them included (kill(2)).
 */
const { kill } = process;

process.kill = (pid, signal) => {
  if (pid === 0) throw new Error('There is no process to send a signal to: its pid was not found.');
  return kill.call(process, pid, signal);
};
