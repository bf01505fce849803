// One tab plays. Another one waits until that is closed, or takes over if the participant says so.

const TASK = "percepsilon-task";
const PATIENCE_MS = 300; // a page that is being left may hold the lock for a moment
const stayLocked = () => new Promise(() => {});

/** Holds the lock for as long as the page lives; `onTaken` is called if another tab takes it over. */
function hold(name, options, onTaken) {
  return new Promise((resolve) => {
    navigator.locks.request(name, options, () => (resolve(), stayLocked())).catch(onTaken);
  });
}

/**
 * Resolves when this tab may play. If another one does, `onOther` is called with a function that takes over.
 * Browsers have locks only on pages with HTTPS or on this machine; elsewhere every tab plays, and the server keeps
 * one answer a trial.
 */
export async function becomeTheOnlyTab({ onOther, onTaken, name = TASK }) {
  if (!navigator.locks) return;
  await new Promise((resolve) => {
    const takeOver = () => hold(name, { steal: true }, onTaken).then(resolve);
    const notice = setTimeout(() => onOther(takeOver), PATIENCE_MS);
    hold(name, {}, onTaken).then(() => (clearTimeout(notice), resolve()));
  });
}
