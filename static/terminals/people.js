// Words for the people in a terminal. Names come from others: they are shown as they are, but never what is invisible in
// them, and a guest always as a guest. Pure.

import { cleanTitle } from "./text.js";

/** A name for a sentence; a guest has chosen theirs. */
export function nameOf({ name, is_guest: isGuest }) {
  return isGuest ? `“${cleanTitle(name)}” (guest)` : cleanTitle(name);
}

/** What somebody here does: "types", "watches", .. */
export function describeRole({ role, via, may_drive: mayDrive, is_owner: isOwner }) {
  if (role === "driver") return "types";
  if (via === "observe") return "observes";
  return mayDrive && !isOwner ? "watches, may type" : "watches";
}

/** What somebody wants who is not in yet. */
export function describeAsking(asking) {
  return `${nameOf(asking)} asks to ${asking.role === "driver" ? "join and type" : "watch"}`;
}

/** What is new between two lists of the people here, for those who are in `after` with the id `you`. */
export function describeChanges(before, after, you) {
  const known = new Map(before.map((person) => [person.id, person]));
  const left = before.filter(({ id }) => !after.some((person) => person.id === id));
  return [
    ...left.map((person) => `${nameOf(person)} left.`),
    ...after.flatMap((person) => describeChange(known.get(person.id), person, person.id === you)),
    ...(hasDriver(before) && !hasDriver(after) ? ["Nobody has the keyboard now."] : []),
  ];
}

function describeChange(before, after, isYou) {
  if (before === undefined) return isYou ? [] : [describeArrival(after)];
  if (before.role === after.role) return [];
  if (after.role === "watcher") return []; // who has it instead is told
  return [isYou ? "You have the keyboard now." : `${nameOf(after)} has the keyboard now.`];
}

function hasDriver(people) {
  return people.some(({ role }) => role === "driver");
}

function describeArrival(person) {
  if (person.via === "observe") return `${nameOf(person)} observes this terminal.`;
  return person.role === "driver" ? `${nameOf(person)} joined and types.` : `${nameOf(person)} joined and watches.`;
}
