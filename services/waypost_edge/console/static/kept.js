// What this browser remembers: small texts under `waypost.…`. Where storage is switched off, nothing is remembered.
export const kept = {
  get(name) { try { return localStorage.getItem(`waypost.${name}`); } catch { return null; } },
  set(name, value) { try { value === null ? localStorage.removeItem(`waypost.${name}`) : localStorage.setItem(`waypost.${name}`, value); } catch { /* switched off */ } },
};
